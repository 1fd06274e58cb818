using Rlhf.Models.Layers;
using Rlhf.Runtime;
using static TorchSharp.torch;

namespace Rlhf.Models.Encoders;

/// <summary>A classifier on the first token of an encoder in BERT's family.</summary>
/// <remarks>B rows, N packed tokens, D width.</remarks>
public abstract partial class EncoderForSequenceClassification : SequenceClassifier
{
    private readonly EncoderLayout layout;
    private readonly Encoder encoder;
    private readonly EncoderConfig config;

    private protected EncoderForSequenceClassification(EncoderConfig config, EncoderLayout layout, ComputePlan? plan) : base(plan)
    {
        config.ThrowIfInvalid();
        (this.config, this.layout) = (config, layout);
        encoder = new Encoder(config, layout, Parameters);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Labels => config.Labels;

    /// <inheritdoc/>
    public override string? ProblemType => config.ProblemType;

    /// <inheritdoc/>
    public override int MaxPositions => config.MaxLength;

    /// <inheritdoc/>
    public override Tensor Forward(PackedBatch batch)
    {
        using var scope = NewDisposeScope();
        return Head(encoder.FirstTokens(batch, Positions(batch), Training)).MoveToOuterDisposeScope();
    }

    /// <summary>Hidden states as transformers returns them: embeddings, then each layer. Each [N, D].</summary>
    public IReadOnlyList<Tensor> HiddenStates(PackedBatch batch)
    {
        using var scope = NewDisposeScope();
        return [.. encoder.HiddenStates(batch, Positions(batch), Training).Select(x => x.MoveToOuterDisposeScope())];
    }

    /// <summary>Logits [B, labels] of the first tokens' hidden states [B, D].</summary>
    private protected abstract Tensor Head(Tensor first);

    /// <summary>Position ids [N] of the batch's tokens.</summary>
    private protected virtual Tensor PositionIds(PackedBatch batch) => batch.PositionIds;

    private protected Tensor Dropout(Tensor x, double? p = null) => Encoder.Dropout(x, p ?? config.HiddenDropout, Training);

    /// <inheritdoc/>
    public override void ShiftLogits(double amount)
    {
        using var noGrad = no_grad();
        HeadLinears.Last().Bias!.add_(amount); // an adapter's, where it has a head of its own
    }

    /// <inheritdoc/>
    protected override bool IsHead(string parameter) => !parameter.StartsWith(layout.Prefix, StringComparison.Ordinal);

    /// <inheritdoc/>
    protected override string? FindStored(string parameter, IReadOnlySet<string> checkpoint) =>
        layout.Find(parameter, checkpoint);

    /// <summary>
    /// As transformers does: normal with the configuration's standard deviation, biases 0, gains 1, the padding token's row 0.
    /// </summary>
    protected override void InitializeParameter(string name, Tensor parameter, long seed)
    {
        if (name.EndsWith(".bias", StringComparison.Ordinal))
            parameter.zero_();
        else if (name.Contains("norm.", StringComparison.OrdinalIgnoreCase))
            parameter.fill_(1);
        else
            InitialWeights.Normal(parameter, config.InitializerRange, seed, name);
        if (name.EndsWith("word_embeddings.weight", StringComparison.Ordinal))
            parameter.narrow(0, config.PadTokenId, 1).zero_();
    }

    /// <summary>The file that the configuration was read from.</summary>
    internal ModelConfig? Source { get; init; }

    /// <inheritdoc/>
    public override ModelConfig Configuration => (Source ?? ModelConfig.Of([])).With(config.ToJson());

    /// <inheritdoc/>
    public override IReadOnlyList<Linear> Linears => [.. encoder.Linears, .. HeadLinears];

    /// <summary>The head's layers.</summary>
    private protected abstract IEnumerable<Linear> HeadLinears { get; }

    /// <inheritdoc/>
    protected override bool IsKnownExtra(string tensor) => base.IsKnownExtra(tensor)
        || tensor.Contains("pooler.", StringComparison.Ordinal);

    private Tensor Positions(PackedBatch batch)
    {
        if (batch.MaxLength > MaxPositions)
            throw new ArgumentException($"A row has {batch.MaxLength} tokens, but the model reads at most {MaxPositions}. " +
                "Shorten the text.");
        batch.CheckIds(config.VocabSize, config.MaxPositionEmbeddings, config.TokenTypes);
        return PositionIds(batch);
    }
}
