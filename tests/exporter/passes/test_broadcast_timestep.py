import numpy as np
import onnx_ir as ir
import onnxruntime

from exporter.passes.broadcast_timestep import BroadcastTimestep

TEXT = """
g (float[B,4,H,W] sample, float[T] timestep, float[4,6] w) => (float[B,4,H,W] y)
<int64[1] one = {1}, int64[1] b, float[B] t, float[B,1] t1, float[1,6] f = {1, 2, 3, 4, 5, 6},
 float[B,6] angle, float[B,6] sin, float[B,4] emb, float[B,4] act, int64[2] ends = {2, 3},
 float[B,4,1,1] temb> {
    b = Shape <start = 0, end = 1> (sample)
    t = Expand(timestep, b)
    t1 = Unsqueeze(t, one)
    angle = Mul(t1, f)
    sin = Sin(angle)
    emb = Gemm <transB = 1> (sin, w)
    act = Swish(emb)
    temb = Unsqueeze(act, ends)
    y = Add(sample, temb)
}"""


def test_the_time_path_reads_nothing_of_the_sample(parse, rewrite, op_types):
    model = rewrite(BroadcastTimestep(), parse(TEXT))
    assert "Expand" not in op_types(model)
    assert "Shape" not in op_types(model)
    shapes = [str(node.outputs[0].shape) for node in model.graph][:-1]
    assert shapes == ["[T,1]", "[T,6]", "[T,6]", "[T,4]", "[T,4]", "[T,4,1,1]"]
    assert str(model.graph[-1].outputs[0].shape) == "[B,4,H,W]"


def test_a_product_with_ones_of_the_batch_repeats_it_too(parse, rewrite, op_types):
    text = TEXT.replace(
        "t = Expand(timestep, b)", "ones = Expand(k, b)\n t = Mul(timestep, ones)"
    )
    text = text.replace("int64[1] b,", "int64[1] b, float k = {1}, float[B] ones,")
    model = rewrite(BroadcastTimestep(), parse(text))
    assert "Shape" not in op_types(model)
    twice = text.replace("float k = {1}", "float k = {2}")
    assert "Expand" in op_types(rewrite(BroadcastTimestep(), parse(twice), modified=False))


def test_one_timestep_or_one_per_sample(parse):
    proto = ir.to_proto(BroadcastTimestep()(parse(TEXT)).model)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    random = np.random.default_rng(0)
    sample = random.standard_normal((3, 4, 2, 2)).astype(np.float32)
    w = random.standard_normal((4, 6)).astype(np.float32)

    def run(sample, times):
        times = np.array(times, dtype=np.float32)
        return session.run(None, {"sample": sample, "timestep": times, "w": w})[0]

    together = run(sample, [1.0, 2.5, 7.0])
    for index, time in enumerate([1.0, 2.5, 7.0]):
        alone = run(sample[index : index + 1], [time])
        np.testing.assert_allclose(together[index : index + 1], alone, rtol=1e-6)


def test_a_use_that_mixes_rows_keeps_it(parse, rewrite, op_types):
    text = TEXT.replace("act = Swish(emb)", "act = Softmax <axis = 0> (emb)")
    assert "Expand" in op_types(rewrite(BroadcastTimestep(), parse(text), modified=False))


def test_a_concat_with_rows_of_the_batch_keeps_it(parse, rewrite, op_types):
    text = TEXT.replace("float[4,6] w", "float[B,2] rows, float[4,8] w")
    text = text.replace("(sin, w)", "(both, w)").replace("float[B,6] sin", "float[B,8] both")
    text = text.replace("emb = G", "both = Concat <axis = 1> (sin, rows)\n    emb = G")
    assert "Expand" in op_types(rewrite(BroadcastTimestep(), parse(text), modified=False))


def test_rows_of_the_batch_may_be_added_on_the_way(parse, rewrite, op_types):
    text = TEXT.replace("float[4,6] w", "float[B,4] labels, float[4,6] w")
    text = text.replace("act = Swish(emb)", "both = Add(emb, labels)\n    act = Swish(both)")
    text = text.replace("float[B,4] act", "float[B,4] act, float[B,4] both")
    model = rewrite(BroadcastTimestep(), parse(text))
    assert "Expand" not in op_types(model)
    assert str(model.graph[-2].outputs[0].shape) == "[B,4,1,1]"


def test_what_is_not_the_timestep_stays(parse, rewrite, op_types):
    text = TEXT.replace("timestep", "rows").replace("float[T] rows", "float[1] rows")
    assert "Expand" in op_types(rewrite(BroadcastTimestep(), parse(text), modified=False))
