using Rlhf.Runtime.Operators;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models.Encoders;

/// <summary>x · Wᵀ + b.</summary>
internal readonly record struct Linear(Parameter Weight, Parameter Bias)
{
    public static Linear Add(NamedParameters parameters, string name, int inputs, int outputs) =>
        new(parameters.Add(name + ".weight", outputs, inputs), parameters.Add(name + ".bias", outputs));

    public Tensor Apply(Tensor x) => MatrixProduct.Linear(x, Weight, Bias);
}

/// <summary>Layer normalisation over the last dimension.</summary>
internal readonly record struct Norm(Parameter Weight, Parameter Bias, long[] Shape, double Eps)
{
    public static Norm Add(NamedParameters parameters, string name, int width, double eps) =>
        new(parameters.Add(name + ".weight", width), parameters.Add(name + ".bias", width), [width], eps);

    public Tensor Apply(Tensor x) => nn.functional.layer_norm(x, Shape, Weight, Bias, Eps);
}
