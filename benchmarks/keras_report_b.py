"""Report B's net in Keras as its author wrote it; run by report_b.py in an environment that has Keras.

    python keras_report_b.py ARRAYS.npz EPOCHS SEED

The last line printed is JSON: accuracy and loss on the test set, seconds an epoch, seconds of everything.
"""

import json
import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    import keras
    import numpy as np

    path, epochs, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    data = np.load(path)
    x, xt = (data[name].reshape(-1, 784).astype("float32") / 255 for name in ("x", "xt"))
    y, yt = (keras.utils.to_categorical(data[name], 10) for name in ("y", "yt"))
    layers = keras.layers
    model: Any = keras.Sequential(
        [
            layers.Input((784,)),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="SGD", metrics=["accuracy"])
    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    model.fit(x, y, batch_size=200, epochs=epochs, validation_split=0.2, verbose=0, callbacks=[watch])
    epoch = (ends[-1] - ends[0]) / (epochs - 1)  # training and validation; the first, with its tracing, is not counted
    loss, accuracy = (float(value) for value in model.evaluate(xt, yt, verbose=0))
    seconds = time.perf_counter() - start
    print(json.dumps({"accuracy": accuracy, "loss": loss, "epoch_seconds": epoch, "seconds": seconds}))


if __name__ == "__main__":
    main()
