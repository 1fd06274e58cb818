using System.Collections.Concurrent;
using System.Globalization;
using Rlhf.Runtime.Operators;

namespace Rlhf.Models.Decoders;

/// <summary>
/// TorchScript of a block's passes, written for one shape: what the shape does not have is not in the text, and gradients of what is frozen
/// are not computed.
/// </summary>
/// <remarks>
/// N packed tokens, B rows of at most T tokens, H heads of queries, K of keys and values, G = H / K, D width. An adapter is multiplied into a
/// copy of its layer's weight for as long as the block needs it: W + s B A costs less than a second product of every token, and its gradient
/// reaches A and B by two narrow products.
/// </remarks>
internal sealed class DecoderScript
{
    private static readonly ConcurrentDictionary<(MatrixLibrary, MatrixPrecision, string, string), DecoderScript> Scripts = [];

    private readonly OperatorScript script;

    private DecoderScript(OperatorScript script, IReadOnlyList<int> gradients) => (this.script, Gradients) = (script, gradients);

    /// <summary>Indices of the weights whose gradients the backward functions return, in their order.</summary>
    public IReadOnlyList<int> Gradients { get; }

    /// <summary>The script for a block with its weights as they are now.</summary>
    public static DecoderScript For(DecoderShape shape, string shapeKey, BlockWeights weights) => Scripts.GetOrAdd(
        (MatrixProduct.Library, MatrixProduct.Precision, shapeKey, weights.Key),
        kind =>
        {
            var writer = new DecoderScriptWriter(shape, weights);
            string text = writer.Write();
            return new(new OperatorScript(MatrixProduct.Definitions(kind.Item1, kind.Item2) + text), writer.Gradients);
        });

    /// <summary>Calls a function that <see cref="DecoderScriptWriter"/> has written.</summary>
    public TorchSharp.torch.Tensor[] Invoke(string name, params object?[] arguments) => script.InvokeList(name, arguments);
}

/// <summary>What a block's script depends on besides its weights' kinds.</summary>
internal static class DecoderScriptKey
{
    /// <summary>Blocks with equal keys share a script.</summary>
    public static string Of(DecoderShape shape) => string.Join('|', shape.Norm, shape.NormEpsilon.ToString("R", CultureInfo.InvariantCulture),
        shape.Placement, shape.QueryKeyNorm, shape.Qkv, shape.JoinsGateAndUp, shape.Sizes.IsGated, shape.IsParallel, shape.Activation,
        shape.AttentionScale?.ToString("R", CultureInfo.InvariantCulture), shape.Sizes.Heads, shape.Sizes.KeyValueHeads, shape.Sizes.HeadSize,
        shape.Sizes.Width, shape.Sizes.InnerWidth);
}
