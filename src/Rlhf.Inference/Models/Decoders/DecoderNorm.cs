using Rlhf.Models.Onnx;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Decoders;

/// <summary>A normalization over the last dimension; computed in float32, as transformers does.</summary>
internal sealed class DecoderNorm
{
    private readonly NormKind kind;
    private readonly double epsilon;
    private readonly long[] shape;
    private readonly Parameter weight;

    private DecoderNorm(NormKind kind, double epsilon, Parameter weight, Parameter? bias) =>
        (this.kind, this.epsilon, this.weight, Bias, shape) = (kind, epsilon, weight, bias, weight.shape);

    public Parameter Weight => weight;

    public Parameter? Bias { get; }

    public static DecoderNorm Add(NamedParameters parameters, string name, int width, NormKind kind, double epsilon)
    {
        var weight = parameters.Add(name + ".weight", width);
        return new(kind, epsilon, weight, kind == NormKind.Layer ? parameters.Add(name + ".bias", width) : null);
    }

    public Tensor Apply(Tensor x)
    {
        if (kind == NormKind.Layer)
            return nn.functional.layer_norm(x, shape, weight, Bias, epsilon);
        var wide = x.to(float32);
        var normed = wide * wide.square().mean([-1L], keepdim: true).add(epsilon).rsqrt();
        return kind == NormKind.RmsPlusOne ? (normed * (weight.to(float32) + 1)).to(x.dtype) : normed.to(x.dtype) * weight;
    }

    /// <summary>The normalization in ONNX's operators.</summary>
    public OnnxValue Graph(OnnxGraph graph, OnnxValue x) => kind == NormKind.Layer ? graph.LayerNorm(x, weight, Bias!, epsilon)
        : graph.RmsNorm(x, weight, epsilon, addsOne: kind == NormKind.RmsPlusOne);

    /// <summary>Makes the normalization do nothing but normalize.</summary>
    public void Initialize()
    {
        weight.fill_(kind == NormKind.RmsPlusOne ? 0 : 1);
        Bias?.zero_();
    }
}
