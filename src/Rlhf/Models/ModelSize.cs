using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using TorchSharp;

namespace Rlhf.Models;

/// <summary>How large a model is, by its config.json alone: nothing is allocated and no weight is read.</summary>
/// <remarks>D width, F inner width, H heads, V vocabulary; N tokens of a batch of B rows, at most T each.</remarks>
public sealed record ModelSize
{
    private ModelSize()
    {
    }

    /// <summary>Weights of the whole model.</summary>
    public required long Parameters { get; init; }

    /// <summary>Weights of one layer.</summary>
    public required long LayerParameters { get; init; }

    /// <summary>Number of layers.</summary>
    public required int Layers { get; init; }

    /// <summary>D.</summary>
    public required int Width { get; init; }

    /// <summary>F.</summary>
    public required int InnerWidth { get; init; }

    /// <summary>H.</summary>
    public required int Heads { get; init; }

    /// <summary>V.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Longest row in tokens.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>Attention drops out while training, which keeps its [T, T] weights.</summary>
    public required bool DropsAttention { get; init; }

    /// <summary>The CPU has a backward pass of its own for the layers, as long as nothing drops out.</summary>
    public required bool HasFusedLayers { get; init; }

    /// <summary>Reads config.json of a model folder.</summary>
    /// <exception cref="FileNotFoundException">There is no config.json.</exception>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static ModelSize Of(string folder)
    {
        var json = ConfigFile.Read(folder);
        return json.Text("model_type", "") == "gpt2" ? Of(Gpt2Config.Load(json)) : Of(AutoModelForSequenceClassification.ReadConfig(json));
    }

    /// <summary>The size of a GPT-2.</summary>
    public static ModelSize Of(Gpt2Config config)
    {
        return new()
        {
            LayerParameters = LayerWeights(config.NEmbd, config.InnerSize),
            Parameters = config.ParameterCount,
            Layers = config.NLayer,
            Width = config.NEmbd,
            InnerWidth = config.InnerSize,
            Heads = config.NHead,
            VocabSize = config.VocabSize,
            MaxPositions = config.NPositions,
            DropsAttention = config.AttnPdrop > 0,
            HasFusedLayers = config.ActivationFunction is "gelu" or "gelu_new" or "gelu_pytorch_tanh",
        };
    }

    /// <summary>Bytes that a forward pass keeps for the backward pass, in float32.</summary>
    /// <param name="rowLengths">Tokens of each row.</param>
    /// <param name="device">Where the model computes.</param>
    /// <param name="training">Dropout is on.</param>
    /// <param name="layers">Layers that are trained; null: all.</param>
    public long ActivationBytes(IReadOnlyCollection<int> rowLengths, torch.Device device, bool training, int? layers = null)
    {
        long n = rowLengths.Sum(l => (long)l), longest = rowLengths.Max(), padded = longest * rowLengths.Count;
        long d = Width, f = InnerWidth;
        bool drops = training && DropsAttention;
        long floats = HasFusedLayers && !drops && device.type == DeviceType.CPU
            // Two of the residual stream and two within the feed-forward layer; queries, keys, values and attention's output are padded.
            ? n * (2 * d + 2 * f) + padded * (4 * d + Heads)
            // What autograd keeps of each operator; dropout also keeps attention's weights. The factors are fitted to measured peaks.
            : HasFusedLayers ? n * (11 * d + 2 * f) + padded * (8 * d + (drops ? 3L * Heads * longest : Heads))
            : n * (9 * d + 2 * f) + padded * (6 * d + (drops ? Heads * longest : Heads));
        return sizeof(float) * floats * (layers ?? Layers);
    }

    /// <summary>Bytes that one layer's backward pass works with, in float32.</summary>
    /// <param name="rowLengths">Tokens of each row.</param>
    public long BackwardBytes(IReadOnlyCollection<int> rowLengths) =>
        sizeof(float) * rowLengths.Max() * (long)rowLengths.Count * (10L * Width + 2L * InnerWidth);

    /// <summary>The size of a classifier.</summary>
    public static ModelSize Of(ClassifierConfig config)
    {
        if (config is Gpt2ClassifierConfig gpt2)
            return Of(gpt2.Trunk);
        var encoder = (EncoderConfig)config;
        return new()
        {
            LayerParameters = LayerWeights(encoder.HiddenSize, encoder.IntermediateSize),
            Parameters = encoder.ParameterCount,
            Layers = encoder.NumHiddenLayers,
            Width = encoder.HiddenSize,
            InnerWidth = encoder.IntermediateSize,
            Heads = encoder.NumAttentionHeads,
            VocabSize = encoder.VocabSize,
            MaxPositions = encoder.MaxLength,
            DropsAttention = encoder.AttentionDropout > 0,
            HasFusedLayers = false,
        };
    }

    /// <summary>Weights of one layer: attention, feed-forward layer and two normalisations.</summary>
    private static long LayerWeights(long d, long f) => 4 * d * (d + 1) + 2 * d * f + f + 5 * d;
}
