"""TF Serving's two protocols before an exported model, in this process.

REST follows https://www.tensorflow.org/tfx/serving/api_rest and the checks of TF Serving's
`util/json_tensor.cc`.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading

import numpy as np
import tensorflow as tf


class RefusedError(Exception):
    """A request that is none, by the protocol."""


@contextlib.contextmanager
def rest(signatures, name):
    """Serves `signatures` as the model `name`; the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = 404, {"error": f"Malformed request: POST {self.path}"}
            if self.path == f"/v1/models/{name}:predict":
                status, answer = respond(signatures, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def respond(signatures, body):
    """(HTTP status, answer) to a request's body."""
    try:
        request = json.loads(body)
        signature = signatures[request.get("signature_name", "serving_default")]
        by_row = "instances" in request
        if by_row == ("inputs" in request):
            raise RefusedError("a request has either instances or inputs")
        inputs = signature.structured_input_signature[1]
        tensors = (_rows if by_row else _columns)(request, inputs)
        # One output: its name is left out.
        (values,) = signature(**tensors).values()
        return 200, {"predictions" if by_row else "outputs": values.numpy().tolist()}
    except (RefusedError, KeyError, ValueError, tf.errors.InvalidArgumentError) as error:
        return 400, {"error": getattr(error, "message", str(error))}


def _rows(request, inputs):
    rows = request["instances"]
    if not isinstance(rows, list) or not rows:
        raise RefusedError("instances must be a list of at least one")
    if any(_is_object(row) for row in rows):
        if any(not _is_object(row) or row.keys() != inputs.keys() for row in rows):
            raise RefusedError(f"keys must be equal to: {','.join(inputs)}")
        return {name: _tensor([row[name] for row in rows], inputs[name]) for name in inputs}
    ((name, spec),) = inputs.items()
    return {name: _tensor(rows, spec)}


def _columns(request, inputs):
    columns = request["inputs"]
    if not _is_object(columns):
        ((name, spec),) = inputs.items()
        return {name: _tensor(columns, spec)}
    if not inputs.keys() <= columns.keys():
        raise RefusedError(f"Missing named input: one of {','.join(inputs)}")
    return {name: _tensor(columns[name], inputs[name]) for name in inputs}


def _is_object(value):
    """Whether it names inputs: bytes are written as an object too."""
    return isinstance(value, dict) and value.keys() != {"b64"}


def _tensor(value, spec):
    kind = object if spec.dtype == tf.string else np.float32
    # Ragged lists raise ValueError.
    return tf.constant(np.array(_leaves(value, spec.dtype), kind), spec.dtype)


def _leaves(value, dtype):
    if isinstance(value, list):
        return [_leaves(part, dtype) for part in value]
    if isinstance(value, dict) and dtype == tf.string:
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str) and dtype == tf.string:
        return value.encode()
    if isinstance(value, int | float) and dtype != tf.string:
        return value
    raise RefusedError(f"JSON Value: {value!r} is not of expected type: {dtype.name}")


@contextlib.contextmanager
def grpc_service(signatures, name):
    """The same by gRPC; needs tensorflow-serving-api."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802
            if request.model_spec.name != name:
                context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
            signature = signatures[request.model_spec.signature_name or "serving_default"]
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            try:
                outputs = signature(**{key: tf.constant(value) for key, value in inputs.items()})
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            response = predict_pb2.PredictResponse()
            for key, value in outputs.items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield port
    server.stop(None)
