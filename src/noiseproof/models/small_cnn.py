"""The MNIST network of TRADES (Zhang et al. 2019, after Carlini & Wagner 2017), with the tensor names of the released weights."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.models.layers import Dropout

__all__ = ["SmallCNN"]


class SmallCNN(nn.Module):
    """conv 3x3-32 twice, max-pool 2, conv 3x3-64 twice, max-pool 2, FC 200, dropout .5, FC 200, FC 10: 312 202 parameters.

    ReLU after every layer but the last, convolutions without padding, pixels in [0, 1]. The authors' weight file
    `model_mnist_smallcnn.pt` can be loaded and has 99.48 % clean accuracy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=nn.Conv2d(1, 32, 3),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(32, 32, 3),
                relu2=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv3=nn.Conv2d(32, 64, 3),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(64, 64, 3),
                relu4=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict[str, nn.Module](
                flatten=nn.Flatten(),
                fc1=nn.Linear(64 * 4 * 4, 200),
                relu1=nn.ReLU(),
                dropout=Dropout(0.5),
                fc2=nn.Linear(200, 200),
                relu2=nn.ReLU(),
                fc3=nn.Linear(200, 10),
            )
        )

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        """Return logits."""
        logits: Tensor = self.classifier(self.feature_extractor(images))
        return logits
