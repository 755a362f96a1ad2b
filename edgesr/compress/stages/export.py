"""The student's files: weights, a loader without edgesr, ONNX."""

from __future__ import annotations

from pathlib import Path

from edgesr_export.card import write_card
from edgesr_export.errors import ExportError
from edgesr_export.sizes import input_shape
from msgspec.structs import replace

from edgesr.deploy.inputs import write_network
from edgesr.deploy.stage import TEACHER
from edgesr.distill.trainer import TrainResult
from edgesr.errors import ModelError
from edgesr.files import file_sha256
from edgesr.loading.card import make_card, trained_on
from edgesr.loading.standalone import write_loader
from edgesr.loading.weights import save_network
from edgesr.loading.workload import Size, Workload
from edgesr.progress import log
from edgesr.report.entries import onnx_entry
from edgesr.report.model import OnnxFile
from edgesr.run_folder import LOADER, ONNX, STUDENT


def export_student(
    folder: Path,
    training: TrainResult,
    workload: Workload,
    size: Size,
    scratch: Path,
    *,
    one_size: bool = False,
) -> OnnxFile | str:
    """Write the student's weights, its loader and its ONNX file.

    Args:
        folder: where they go.
        training: how the student came to be; its network is the student.
        workload: the scene, and the reference.
        size: LR size of the tile that the ONNX file is compared on.
        scratch: where the candidates' files lie, the reference's among them.
        one_size: the file takes that size alone.

    Returns:
        What is known of the ONNX file, or why there is none.
    """
    student = training.model
    data = trained_on(workload.scene, student)
    save_network(
        student,
        folder / STUDENT,
        data=data,
        training={"teacher": workload.weights, "best": training.best},
    )
    try:
        write_loader(student, folder / LOADER, STUDENT)
    except ModelError as error:  # layers of another package's pass
        log(f"no {LOADER}: {error}")
    path = folder / ONNX
    try:
        if student is not workload.model and not (scratch / f"{TEACHER}.onnx").is_file():
            again = scratch / "again.onnx"
            write_network(workload.model, workload, size, again, one_size=one_size)
        found, agreement = write_network(student, workload, size, path, one_size=one_size)
    except ExportError as error:
        return str(error)
    try:
        card = make_card(data, workload.network, file_sha256(folder / STUDENT))
        write_card(path, replace(card, size=input_shape(path)[2:]))
    except (ModelError, ExportError) as error:  # numbers that no card has
        log(f"no model card: {error}")
    return onnx_entry(path, found, agreement)
