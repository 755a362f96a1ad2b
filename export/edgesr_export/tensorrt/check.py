"""Does TensorRT read a file? Asked of its parser; nothing is built."""

from __future__ import annotations

import onnx

from edgesr_export.tensorrt.api import Api, available, find_api
from edgesr_export.tensorrt.messages import logger, record, silent_stderr
from edgesr_export.tensorrt.refusal import parser_error, refuse


def parse(model: onnx.ModelProto, api: Api | None = None) -> str | None:
    """Name and version of the TensorRT that reads the network; None where there is none here.

    What no TensorRT takes is refused even then.

    Raises:
        UnsupportedOperatorError: an operator that it does not take, with its layer.
        ExportError: any other complaint of the parser.
    """
    refuse(model)
    if api is None:
        if not available():
            return None
        api = find_api()
    with record(api), silent_stderr():
        builder = api.module.Builder(logger(api))
        network = builder.create_network(api.network_flags)
        parser = api.module.OnnxParser(network, logger(api))
        if not parser.parse(model.SerializeToString()):
            raise parser_error(parser, model)
    return f"{api.name} {api.version}"
