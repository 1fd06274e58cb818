using Rlhf.Runtime.Operators;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>Where a block's weights lie, for <see cref="DecoderRows"/>; to ask libtorch for all of them takes as long as some of the products.</summary>
internal sealed unsafe class StoredBlock
{
    private readonly Parameter[] parameters;
    private readonly List<Tensor> alive = [];
    private readonly bool stays;

    private StoredBlock(DecoderBlock block)
    {
        var weights = block.Weights();
        var tensors = weights.Tensors;
        parameters = [.. block.Linears.Select(l => l.Weight)];
        // Copies in float32 belong to the caller's scope, and do not follow what they were made of.
        stays = !weights.Names.Any(weights.IsNarrow);
        Settings = block.Settings;
        (AttentionNorm, MlpNorm) = ((nint)Small("an"), (nint)Small("mn"));
        if (weights.Has("qn"))
            (QueryNorm, KeyNorm) = ((nint)Small("qn"), (nint)Small("kn"));
        (Query, Key, Value, Output) = (Matrix("q"), Matrix("k"), Matrix("v"), Matrix("o"));
        (Gate, Up, Down) = (Matrix("g"), Matrix("u"), Matrix("d"));

        float* Small(string name)
        {
            var small = tensors[weights.IndexOf(name)];
            alive.Add(stays ? small : small.to(float32));
            return (float*)TensorPointer.Of(alive[^1]);
        }
        StoredMatrix Matrix(string name)
        {
            var weight = tensors[weights.IndexOf(name)];
            return new StoredMatrix
            {
                Weight = TensorPointer.Of(weight),
                Bias = weights.Has(name + ".bias") ? Small(name + ".bias") : null,
                Inputs = (int)weight.shape[1],
                Outputs = (int)weight.shape[0],
                IsBfloat16 = weights.IsNarrow(name),
            };
        }
    }

    public LayerSettings Settings { get; }

    public nint AttentionNorm { get; }

    public nint MlpNorm { get; }

    public nint? QueryNorm { get; }

    public nint? KeyNorm { get; }

    public StoredMatrix Query { get; }

    public StoredMatrix Key { get; }

    public StoredMatrix Value { get; }

    public StoredMatrix Output { get; }

    public StoredMatrix Gate { get; }

    public StoredMatrix Up { get; }

    public StoredMatrix Down { get; }

    /// <summary>A block's weights as they are now; what was found before holds until others stand in their place, such as an adapter's.</summary>
    public static StoredBlock Of(DecoderBlock block)
    {
        if (block.Stored is { stays: true } known && known.parameters.Zip(block.Linears).All(p => ReferenceEquals(p.First, p.Second.Weight)))
            return known;
        return block.Stored = new StoredBlock(block);
    }
}
