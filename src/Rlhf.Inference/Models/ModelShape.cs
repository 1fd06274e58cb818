using Rlhf.Runtime;
using TorchSharp;

namespace Rlhf.Models;

/// <summary>
/// The sizes of a model, by its config.json alone: nothing is allocated and no weight is read. Memory plans, counts of arithmetic and
/// refusals ask this, never the configuration of a family.
/// </summary>
/// <remarks>D width, F inner width, H heads, V vocabulary; N tokens of a batch of B rows, at most T each.</remarks>
public sealed record ModelShape
{
    /// <summary>Number of layers.</summary>
    public required int Layers { get; init; }

    /// <summary>D.</summary>
    public required int Width { get; init; }

    /// <summary>F.</summary>
    public required int InnerWidth { get; init; }

    /// <summary>The feed-forward layer has a gate: three matrices in place of two.</summary>
    public bool IsGated { get; init; }

    /// <summary>H, heads of queries.</summary>
    public required int Heads { get; init; }

    /// <summary>Heads of keys and values; fewer than <see cref="Heads"/> where queries share them.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Width of a head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>V.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Longest row in tokens.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>Weights of the whole model.</summary>
    public required long Parameters { get; init; }

    /// <summary>Of which: those of an output layer of its own; 0 where it is tied to the input embedding.</summary>
    public long OutputParameters { get; init; }

    /// <summary>Weights of one layer.</summary>
    public required long LayerParameters { get; init; }

    /// <summary>A token sees those before it alone.</summary>
    public bool IsCausal { get; init; } = true;

    /// <summary>Attention drops out while training, which keeps its [T, T] weights.</summary>
    public bool DropsAttention { get; init; }

    /// <summary>The CPU has a backward pass of its own for the layers, as long as nothing drops out.</summary>
    public bool HasFusedLayers { get; init; }

    /// <summary>That backward pass knows adapters' updates (without dropout and magnitudes).</summary>
    public bool HasFusedAdapters { get; init; }

    /// <summary>Width of a token's keys, and of its values, in one layer.</summary>
    public int KeyValueWidth => KeyValueHeads * HeadSize;

    /// <summary>Multiplications of one token with a layer's matrices.</summary>
    public long LayerProducts =>
        2L * Width * Heads * HeadSize + 2L * Width * KeyValueWidth + (IsGated ? 3L : 2L) * Width * InnerWidth;

    /// <summary>The shape of the model in a folder.</summary>
    /// <exception cref="FileNotFoundException">There is no config.json.</exception>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static ModelShape Of(string folder) => Of(ModelConfig.Read(folder));

    /// <summary>The shape that a configuration describes.</summary>
    /// <exception cref="InvalidDataException">It describes a model that cannot be built.</exception>
    public static ModelShape Of(ModelConfig config) => ModelFamilies.Of(config).Shape(config);

    /// <summary>Bytes that a token takes in the cache of keys and values.</summary>
    /// <param name="elementSize">Bytes of one number.</param>
    public long CacheBytesPerToken(long elementSize = sizeof(float)) => 2L * Layers * KeyValueWidth * elementSize;

    /// <summary>Bytes that a forward pass keeps for the backward pass, in float32.</summary>
    /// <param name="rowLengths">Tokens of each row.</param>
    /// <param name="plan">Where and how the model computes.</param>
    /// <param name="training">Dropout is on.</param>
    /// <param name="layers">Layers that are trained; null: all.</param>
    public long ActivationBytes(IReadOnlyCollection<int> rowLengths, ComputePlan plan, bool training, int? layers = null)
    {
        if (plan.RecomputesActivations)
            return sizeof(float) * rowLengths.Sum(l => (long)l) * Width * (layers ?? Layers)
                + ActivationBytes(rowLengths, plan with { RecomputesActivations = false }, training, 1);
        long n = rowLengths.Sum(l => (long)l), longest = rowLengths.Max(), padded = longest * rowLengths.Count;
        long d = Width, f = InnerWidth, inner = (IsGated ? 4 : 2) * f;
        bool drops = training && DropsAttention;
        long floats = HasFusedLayers && !drops && plan.Device.type == DeviceType.CPU
            // Two of the residual stream and two within the feed-forward layer; queries, keys, values and attention's output may be padded.
            ? n * (2 * d + 2 * f) + padded * (2L * Heads * HeadSize + 2 * KeyValueWidth + Heads)
            // What autograd keeps of each operator; dropout also keeps attention's weights. The factors are fitted to measured peaks.
            : IsCausal ? n * (11 * d + inner) + padded * (8 * d + (drops ? 3L * Heads * longest : Heads))
            : n * (9 * d + inner) + padded * (6 * d + (drops ? Heads * longest : Heads));
        return sizeof(float) * floats * (layers ?? Layers);
    }

    /// <summary>Bytes that one layer's backward pass works with, in float32.</summary>
    /// <param name="rowLengths">Tokens of each row.</param>
    public long BackwardBytes(IReadOnlyCollection<int> rowLengths) =>
        sizeof(float) * rowLengths.Max() * (long)rowLengths.Count * (10L * Width + (IsGated ? 3L : 2L) * InnerWidth);
}
