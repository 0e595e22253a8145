"""Training on photos: a net in colour for pictures as people bring them, beside Fashion-MNIST or alone.

units.py        what the net's logits stand for, and which of them are right for a folder of photos
net.py          the network, and what the model file gives of it
views.py        photos as a camera might have seen them: cut out, turned, lit, mixed
grounds.py      pictures by code without any garment, as grounds and as what is none of the classes
composites.py   garments of Fashion-MNIST laid on grounds, coloured
lesson.py       all of it together: what the training loop learns from, step by step
familiarity.py  how familiar a picture is: what is rejected
fitting.py      what is fitted after training: kind and looks of the embedding, what is familiar
export.py       all of it as a model file, calibrated
taken.py        first weights from a photo model
"""
