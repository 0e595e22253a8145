"""Training: the only room that imports torch. In the order of the work:

recipe.py        what to train, read from TOML, every key checked
samplers.py      which images make up each batch
transforms.py    augmentation of whole batches by indexing
models.py        the networks: encoder and head; keras_resnet50.py is report A's; layers.py what both are made of
losses.py        what is minimised
splitting.py     what is learnt from, and what is held out
lessons.py       a step: batch in, loss out
processes.py     several processes that learn one network together
state.py         weights, their average, optimiser
loop.py          the one training loop; records.py: what it tells and writes
checkpoints.py   what is needed to go on after a stop; resuming.py: going on
together.py      how processes that torchrun starts begin and end
export.py        the trained network as one ONNX model file
"""
