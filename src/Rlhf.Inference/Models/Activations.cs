using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>Activation functions under transformers' names.</summary>
internal static class Activations
{
    public const string Known = "gelu, gelu_new, gelu_pytorch_tanh, relu, silu and tanh";

    public static bool IsKnown(string name) =>
        name is "gelu" or "gelu_new" or "gelu_pytorch_tanh" or "relu" or "silu" or "swish" or "tanh";

    public static Tensor Apply(string name, Tensor x) => name switch
    {
        "gelu" => nn.functional.gelu(x),
        "gelu_new" or "gelu_pytorch_tanh" => nn.functional.gelu(x, approximate: TorchSharp.Modules.GELU.Approximate.tanh),
        "relu" => nn.functional.relu(x),
        "silu" or "swish" => nn.functional.silu(x),
        "tanh" => x.tanh(),
        _ => throw new ArgumentException($"Unknown activation '{name}'; known are {Known}."),
    };
}
