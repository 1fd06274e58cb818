using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>A language model that predicts the next token from those before it.</summary>
/// <remarks>B rows, N packed tokens, V vocabulary, D width.</remarks>
/// <param name="device">Where the model computes; null is the CPU.</param>
/// <param name="shared">Parameters of another model to use, by name, instead of making them.</param>
public abstract class CausalLM(Device? device, IReadOnlyDictionary<string, Parameter>? shared = null)
    : PretrainedModel(device, shared)
{
    /// <summary>V, the number of token ids.</summary>
    public abstract int VocabSize { get; }

    /// <summary>D, the width of hidden states.</summary>
    public abstract int HiddenSize { get; }

    /// <summary>Longest row in tokens.</summary>
    public abstract int MaxPositions { get; }

    /// <summary>Number of blocks.</summary>
    public abstract int LayerCount { get; }

    /// <summary>End-of-sequence token of the configuration, or null.</summary>
    public abstract int? EosTokenId { get; }

    /// <summary>The output layer; tied to the input embedding in GPT-2.</summary>
    public abstract OutputHead Head { get; }

    /// <summary>Hidden states after the final normalisation: [N, D] for N packed tokens.</summary>
    public abstract Tensor Forward(PackedBatch batch);

    /// <summary>
    /// Like <see cref="Forward(PackedBatch)"/>, and also keeps the keys and values of every token, row b
    /// of the batch in row b of the cache.
    /// </summary>
    public abstract Tensor Prefill(PackedBatch batch, KeyValueCache cache);

    /// <summary>
    /// One token for each of the cache's first rows: hidden states [rows, D]. Each row's length in the cache grows by one.
    /// </summary>
    /// <param name="ids">Token ids [rows], int64.</param>
    /// <param name="cache">Keys and values so far; <see cref="KeyValueCache.ActiveRows"/> must equal the number of ids.</param>
    public abstract Tensor Decode(Tensor ids, KeyValueCache cache);

    /// <summary>An empty cache.</summary>
    /// <param name="rows">Most rows it will hold.</param>
    /// <param name="maxLength">Most tokens a row will hold.</param>
    public abstract KeyValueCache CreateCache(int rows, int maxLength);

    /// <summary>
    /// A frozen copy; the embeddings and the first <paramref name="sharedLayers"/> blocks are this
    /// model's own parameters, and frozen here too, when that is not 0.
    /// </summary>
    internal abstract CausalLM CreateFrozenCopy(int sharedLayers);

    /// <summary>Logits [R, V] of hidden states [R, D], float32; without gradient.</summary>
    public Tensor Logits(Tensor hidden) => Head.Logits(hidden);
}
