"""The networks in Keras."""

import keras

from ku import applications as apps


def koncept512(input_size: tuple[int, int], weights: str | None, output_bias: float) -> keras.Model:
    """KonCept512 (Hosu et al., arXiv 1910.06180, section V): InceptionResNetV2, pooled to 1536, and a head of 4 layers.

    weights: "imagenet" or None, of the body; the head starts from he_normal. output_bias: where the score starts.
    Preprocessing is the first layer, [0, 255] to [-1, 1], so that pictures travel as bytes. 59,858,657 parameters.
    """
    pictures = keras.Input((*input_size, 3), dtype="uint8", name="pictures")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pictures)
    body, _ = apps.get_model_imagenet("InceptionResNetV2", weights=weights, input_tensor=scaled)  # ... x 1536
    score = apps.fc_layers(
        body.output, name="fc", fc_sizes=[2048, 1024, 256, 1], dropout_rates=[0.25, 0.25, 0.5, 0], batch_norm=2
    )
    model = keras.Model(pictures, score, name="koncept512")
    model.layers[-1].bias.assign([output_bias])
    return model
