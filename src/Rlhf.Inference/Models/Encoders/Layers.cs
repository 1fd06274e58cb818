using Rlhf.Models.Onnx;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models.Encoders;

/// <summary>Layer normalization over the last dimension.</summary>
internal readonly record struct Norm(Parameter Weight, Parameter Bias, long[] Shape, double Eps)
{
    public static Norm Add(NamedParameters parameters, string name, int width, double eps) =>
        new(parameters.Add(name + ".weight", width), parameters.Add(name + ".bias", width), [width], eps);

    public Tensor Apply(Tensor x) => nn.functional.layer_norm(x, Shape, Weight, Bias, Eps);

    public OnnxValue Graph(OnnxGraph graph, OnnxValue x) => graph.LayerNorm(x, Weight, Bias, Eps);
}
