using Rlhf.Runtime.Operators;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>Where a block's weights lie, for <see cref="DecoderRows"/>; to ask libtorch for all of them takes as long as some of the products.</summary>
internal sealed unsafe class StoredBlock
{
    private readonly (Parameter Weight, object? Adapter)[] parameters;
    private readonly List<Tensor> alive = [];
    private readonly bool stays;

    private StoredBlock(DecoderBlock block)
    {
        var weights = block.Weights();
        var tensors = weights.Tensors;
        parameters = [.. block.Linears.Select(l => (l.Weight, (object?)l.Adapter))];
        // Copies in float32 belong to the caller's scope, and do not follow what they were made of.
        stays = !weights.Names.Any(n => tensors[weights.IndexOf(n)].dim() == 1 && weights.IsNarrow(n));
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
        StoredLinear Matrix(string name)
        {
            var own = StoredMatrix.Of(tensors[weights.IndexOf(name)], weights.Has(name + ".bias") ? Small(name + ".bias") : null);
            return weights.AdapterScale(name) is not { } scale ? new(own) : new(own)
            {
                A = StoredMatrix.Of(tensors[weights.IndexOf(name + ".A")]),
                B = StoredMatrix.Of(tensors[weights.IndexOf(name + ".B")]),
                Scale = (float)scale,
            };
        }
    }

    public LayerSettings Settings { get; }

    public nint AttentionNorm { get; }

    public nint MlpNorm { get; }

    public nint? QueryNorm { get; }

    public nint? KeyNorm { get; }

    public StoredLinear Query { get; }

    public StoredLinear Key { get; }

    public StoredLinear Value { get; }

    public StoredLinear Output { get; }

    public StoredLinear Gate { get; }

    public StoredLinear Up { get; }

    public StoredLinear Down { get; }

    /// <summary>A block's weights as they are now; what was found before holds until others stand in their place, such as an adapter's.</summary>
    public static StoredBlock Of(DecoderBlock block)
    {
        if (block.Stored is { stays: true } known && known.parameters.Zip(block.Linears).All(p =>
            ReferenceEquals(p.First.Weight, p.Second.Weight) && ReferenceEquals(p.First.Adapter, p.Second.Adapter)))
            return known;
        return block.Stored = new StoredBlock(block);
    }
}

/// <summary>A layer's matrix, and its adapter's two where it has one: y = W x + s B (A x).</summary>
internal readonly record struct StoredLinear(StoredMatrix Weight)
{
    /// <summary>[r, I].</summary>
    public StoredMatrix? A { get; init; }

    /// <summary>[O, r].</summary>
    public StoredMatrix? B { get; init; }

    /// <summary>s.</summary>
    public float Scale { get; init; }
}
