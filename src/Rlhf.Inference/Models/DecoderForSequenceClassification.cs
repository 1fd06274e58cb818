using Rlhf.Models.Layers;
using Rlhf.Runtime;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// A language model with a linear head without bias on each row's last token that is not padding: the usual shape of a reward model.
/// </summary>
/// <remarks>transformers: <c>GPT2ForSequenceClassification</c>, <c>LlamaForSequenceClassification</c> and their kin.</remarks>
public sealed partial class DecoderForSequenceClassification : SequenceClassifier
{
    private const string ScoreName = "score";

    private readonly CausalLM trunk;
    private readonly ModelConfig config;
    private readonly Linear score;
    private readonly double initializerRange;

    /// <summary>Puts an uninitialized head on a language model, which then belongs to this object.</summary>
    /// <param name="trunk">The language model; its output layer is not used.</param>
    /// <param name="config">Its config.json, for labels, problem type and padding token.</param>
    /// <exception cref="InvalidDataException">The configuration is malformed.</exception>
    public DecoderForSequenceClassification(CausalLM trunk, ModelConfig config) : base(trunk.Plan)
    {
        (this.trunk, this.config) = (trunk, config);
        Labels = LabelMaps.Read(config.Root);
        ProblemType = LabelMaps.ReadProblemType(config.Root);
        PadTokenId = config.PadTokenId;
        if (PadTokenId >= trunk.VocabSize)
            throw config.Root.Refuse("pad_token_id", $"{PadTokenId} is outside the vocabulary of {trunk.VocabSize}");
        initializerRange = config.Root.Number("initializer_range", 0.02);
        Parameters.Include(trunk.Parameters);
        score = new Linear(ScoreName, Parameters.Add(ScoreName + ".weight", Labels.Count, trunk.HiddenSize)); // trained, whatever the trunk is kept as
    }

    /// <summary>
    /// Padding token: the head reads the last token of a row that is not this one. Null reads the last token; transformers
    /// then takes one row at a time.
    /// </summary>
    public int? PadTokenId { get; }

    private protected override bool CanRecompute => true;

    private protected override bool CanStoreBase => true;

    /// <inheritdoc/>
    public override string Architecture => trunk.Architecture.Replace("LMHeadModel", "", StringComparison.Ordinal)
        .Replace("ForCausalLM", "", StringComparison.Ordinal) + "ForSequenceClassification";

    /// <inheritdoc/>
    public override ModelConfig Configuration =>
        LabelMaps.With(trunk.Configuration, Labels, ProblemType).With("pad_token_id", PadTokenId);

    /// <inheritdoc/>
    public override IReadOnlyList<Linear> Linears => [.. trunk.Linears.Where(l => l != trunk.Head.Layer), score];

    /// <inheritdoc/>
    public override IReadOnlyList<string> Labels { get; }

    /// <inheritdoc/>
    public override string? ProblemType { get; }

    /// <inheritdoc/>
    public override int MaxPositions => trunk.MaxPositions;

    /// <inheritdoc/>
    public override Tensor Forward(PackedBatch batch)
    {
        using var scope = NewDisposeScope();
        using var mode = trunk.InMode(Training);
        var read = tensor(Enumerable.Range(0, batch.RowCount).Select(b => ReadToken(batch, b)).ToArray(), int64, Device);
        var hidden = trunk.Forward(batch).index_select(0, read);
        return score.Apply(hidden).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose(); // the adapter first, which gives the trunk's weights back
        trunk.Dispose();
    }

    /// <inheritdoc/>
    public override void Initialize(long seed)
    {
        trunk.Initialize(seed);
        using var noGrad = no_grad();
        InitializeParameter(score.Name + ".weight", score.Weight, seed);
    }

    /// <inheritdoc/>
    public override bool CanShiftLogits => Adapter is null && trunk.FinalNormBias is not null && Labels.Count == 1;

    /// <inheritdoc/>
    /// <remarks>
    /// The head has no bias, but the layer norm before it may have one that nothing else reads. With one label it moves along
    /// the head's weights, w · (h + d · w/|w|²) = w · h + d.
    /// </remarks>
    /// <exception cref="NotSupportedException">The model has several labels, its head is 0, or its last normalization has no bias.</exception>
    public override void ShiftLogits(double amount)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var weights = score.Weight[0];
        double square = weights.square().sum().cpu().item<float>();
        if (Adapter is not null || trunk.FinalNormBias is not { } bias || Labels.Count != 1 || !(square > 0))
            throw new NotSupportedException($"{Architecture} has no bias behind its head: only the score of a model with one label, a "
                + "head other than 0, a bias in its last normalization and no adapter can be shifted.");
        bias.add_(weights * (amount / square));
    }

    /// <inheritdoc/>
    protected override void InitializeParameter(string name, Tensor parameter, long seed) =>
        InitialWeights.Normal(parameter, initializerRange, seed, name);

    /// <inheritdoc/>
    protected override bool IsHead(string parameter) => parameter == score.Name + ".weight";

    /// <inheritdoc/>
    protected override string? FindStored(string parameter, IReadOnlySet<string> checkpoint) =>
        IsHead(parameter) ? checkpoint.Contains(parameter) ? parameter : null : trunk.FindInCheckpoint(parameter, checkpoint);

    /// <inheritdoc/>
    protected override bool IsKnownExtra(string tensor) => base.IsKnownExtra(tensor) || CheckpointNames.IsValueHead(tensor)
        || tensor.StartsWith(trunk.Head.Layer.Name + ".", StringComparison.Ordinal);

    /// <summary>Where the head reads row b: its last token that is not padding, or its first where all are.</summary>
    private long ReadToken(PackedBatch batch, int row)
    {
        int first = batch.Offsets[row], last = batch.Offsets[row + 1] - 1;
        if (PadTokenId is { } padding)
            while (last > first && batch.HostIds[last] == padding)
                last--;
        return last;
    }
}
