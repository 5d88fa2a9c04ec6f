"""The networks by name; a checkpoint stores the name of its architecture."""

from typing import TYPE_CHECKING

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS"]

MODELS: "Registry[nn.Module]" = Registry(
    "model",
    "noiseproof.models",
    {
        "digits-cnn": "digits_cnn:DigitsCNN",
        "paper-mnist": "paper_mnist:PaperMNIST",
        "paper-cifar": "paper_cifar:PaperCIFAR",
        "small-cnn": "small_cnn:SmallCNN",
        "lenet": "lenet:LeNet",
        "lenet-wide": "lenet:lenet_wide",
        "kw-mnist-small": "kw_networks:kw_mnist_small",
        "kw-mnist-large": "kw_networks:kw_mnist_large",
        "kw-cifar-small": "kw_networks:kw_cifar_small",
        "kw-cifar-large": "kw_networks:kw_cifar_large",
        "cifar-resnet20": "cifar_resnet:cifar_resnet20",
        "cifar-resnet110": "cifar_resnet:cifar_resnet110",
        "resnet50": "imagenet_resnet:resnet50",
    },
    exports=(
        "by_name:build",
        "by_name:ensemble_name",
        "by_name:member_names",
        "by_name:names",
        "checkpoint:Checkpoint",
        "checkpoint:load_checkpoint",
        "checkpoint:model_digest",
        "checkpoint:save_checkpoint",
        "cifar_resnet:CIFARResNet",
        "ensemble:Ensemble",
        "external:find_checkpoint",
        "external:load",
        "loaded:LoadedModel",
        "normalise:CIFAR10",
        "normalise:IMAGENET",
        "normalise:Normalise",
        "normalise:with_normalisation",
        "zoo:fetch",
        "zoo:shipped",
    ),
)
