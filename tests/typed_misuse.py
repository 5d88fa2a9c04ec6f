"""What a user may get wrong: a type checker rejects every line that says so. It is never run."""

import numpy as np

import noiseproof as npf

images = np.zeros((1, 8, 8), dtype=np.float32)
npf.Gausian(sigma=0.25)  # rejected
npf.atacks  # rejected
npf.attacks.PDG()  # rejected
npf.bounds.TwoFase()  # rejected
npf.certificates.Reny()  # rejected
npf.data.lod("digits", "test")  # rejected
npf.evaluation.sumarise  # rejected
npf.models.laod("zoo:mnist-stn-0.5")  # rejected
npf.noises.Gausian(0.25)  # rejected
npf.objectives.Stabilty()  # rejected
npf.perturbations.Nrom  # rejected
npf.runs.CountVote()  # rejected
npf.sequential.CertifyRadi(0.5)  # rejected
npf.training.trian  # rejected
npf.verification.Casacde  # rejected
smoothed = npf.SmoothedClassifier(npf.models.load("net.onnx"), npf.Gaussian(sigma="wide"), 10)  # rejected
smoothed.certify(images, stopp=npf.CertifyRadii(0.5))  # rejected
smoothed.certify(images, stop="CertifyRadii")  # rejected
smoothed.certify(images).radii  # rejected
print(npf.__version__, npf.records.Record, npf.Laplace(0.5))
