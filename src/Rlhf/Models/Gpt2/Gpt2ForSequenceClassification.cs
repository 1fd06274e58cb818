using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models.Gpt2;

/// <summary>
/// GPT-2 with a linear head without bias on each row's last token that is not padding: the usual shape of a reward model.
/// </summary>
public sealed class Gpt2ForSequenceClassification : SequenceClassifier
{
    private const string Prefix = "transformer.", ScoreName = "score.weight";

    private readonly Gpt2LMHeadModel trunk;
    private readonly Parameter score;

    /// <summary>
    /// A model with uninitialised weights; <see cref="Initialize"/> or <see cref="PretrainedModel.LoadWeights"/> fills them.
    /// </summary>
    /// <exception cref="Runtime.ConfigurationException">The configuration cannot be used.</exception>
    public Gpt2ForSequenceClassification(Gpt2ClassifierConfig config, Device? device = null) : base(device)
    {
        config.ThrowIfInvalid();
        Config = config;
        trunk = new Gpt2LMHeadModel(config.Trunk, device);
        Parameters.Include(trunk.Parameters);
        score = Parameters.Add(ScoreName, config.Labels.Count, config.Trunk.NEmbd);
    }

    /// <summary>The configuration.</summary>
    public Gpt2ClassifierConfig Config { get; }

    /// <inheritdoc/>
    public override string Architecture => "GPT2ForSequenceClassification";

    /// <inheritdoc/>
    public override IReadOnlyList<string> Labels => Config.Labels;

    /// <inheritdoc/>
    public override string? ProblemType => Config.ProblemType;

    /// <inheritdoc/>
    public override int MaxPositions => Config.Trunk.NPositions;

    /// <inheritdoc/>
    public override Tensor Forward(PackedBatch batch)
    {
        using var scope = NewDisposeScope();
        trunk.Training = Training;
        var read = tensor(Enumerable.Range(0, batch.RowCount).Select(b => ReadToken(batch, b)).ToArray(), int64, Device);
        return nn.functional.linear(trunk.Forward(batch).index_select(0, read), score).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        trunk.Dispose();
        base.Dispose();
    }

    /// <inheritdoc/>
    public override void Initialize(long seed)
    {
        trunk.Initialize(seed);
        using var noGrad = no_grad();
        InitializeParameter(ScoreName, score, seed);
    }

    /// <inheritdoc/>
    /// <remarks>
    /// GPT-2's head has no bias, but the layer norm before it has one that nothing else reads. With one label it moves along
    /// the head's weights, w · (h + d · w/|w|²) = w · h + d.
    /// </remarks>
    /// <exception cref="NotSupportedException">The model has several labels, or its head is 0.</exception>
    public override void ShiftLogits(double amount)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var weights = score[0];
        double square = weights.square().sum().cpu().item<float>();
        if (Labels.Count != 1 || !(square > 0))
            throw new NotSupportedException("GPT-2's head has no bias: only the score of a model with one label and a head "
                + "other than 0 can be shifted.");
        Parameters[Prefix + "ln_f.bias"].add_(weights * (amount / square));
    }

    /// <inheritdoc/>
    protected override void InitializeParameter(string name, Tensor parameter, long seed) =>
        InitialWeights.Normal(parameter, Config.Trunk.InitializerRange, seed, name);

    /// <inheritdoc/>
    protected override bool IsHead(string parameter) => parameter == ScoreName;

    /// <inheritdoc/>
    protected override string? FindStored(string parameter, IReadOnlySet<string> checkpoint)
    {
        var bare = parameter.StartsWith(Prefix, StringComparison.Ordinal) ? parameter[Prefix.Length..] : parameter;
        return checkpoint.Contains(parameter) ? parameter : checkpoint.Contains(bare) ? bare : null;
    }

    /// <inheritdoc/>
    protected override void SaveConfiguration(string folder) => Config.Save(folder, Architecture);

    /// <summary>Where the head reads row b: its last token that is not padding, or its first where all are.</summary>
    private long ReadToken(PackedBatch batch, int row)
    {
        int first = batch.Offsets[row], last = batch.Offsets[row + 1] - 1;
        if (Config.PadTokenId is { } padding)
            while (last > first && batch.HostIds[last] == padding)
                last--;
        return last;
    }
}
