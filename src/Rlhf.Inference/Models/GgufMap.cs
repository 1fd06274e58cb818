namespace Rlhf.Models;

/// <summary>
/// How models of a family are written as GGUF, the file of llama.cpp and of programs built on it: llama.cpp's name of the family, the
/// settings and the tensors that it looks for. The tokenizer and what a file says about itself are no family's and not part of it.
/// </summary>
/// <param name="Architecture">llama.cpp's name of the family, such as <c>llama</c>.</param>
/// <param name="Metadata">Settings under their full keys, such as <c>llama.block_count</c>; values are uint, float, bool, string or an array
/// of bool.</param>
/// <param name="Tensors">The tensors made of the model's parameters, in the file's order.</param>
/// <seealso href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"/>
public sealed record GgufMap(
    string Architecture, IReadOnlyList<KeyValuePair<string, object>> Metadata, IReadOnlyList<GgufTensor> Tensors)
{
    internal const string GeluNote =
        "llama.cpp computes GELU by its tanh form, the model by the error function: activations differ by up to 0.0005.";

    /// <summary>Tensors of one dimension that are computed from the configuration, such as divisors of rotary frequencies.</summary>
    public IReadOnlyList<KeyValuePair<string, float[]>> Tables { get; init; } = [];

    /// <summary>What llama.cpp does otherwise than the configuration says: sentences for people.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

/// <summary>A tensor of a GGUF file and the parameter that it is made of: <c>Scale · (parameter + Add)</c>, its rows in another order.</summary>
/// <param name="Name">llama.cpp's name, such as <c>blk.0.attn_q.weight</c>.</param>
/// <param name="Parameter">The parameter's name in <see cref="PretrainedModel.Parameters"/>.</param>
public sealed record GgufTensor(string Name, string Parameter)
{
    /// <summary>Which row of the parameter comes first, second, ... [rows]; null keeps their order.</summary>
    public IReadOnlyList<int>? Rows { get; init; }

    /// <summary>The parameter is stored inputs first and is written outputs first.</summary>
    public bool IsTransposed { get; init; }

    /// <summary>Is added to every number, such as Gemma's 1 to the weights of its norms; default 0.</summary>
    public double Add { get; init; }

    /// <summary>What the sum is multiplied with; default 1.</summary>
    public double Scale { get; init; } = 1;
}
