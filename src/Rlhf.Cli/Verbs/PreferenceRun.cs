using System.Globalization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Reporting;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Rlhf.Training.Loop;
using Rlhf.Training.Memory;
using Rlhf.Training.Preferences;
using TorchSharp;

namespace Rlhf.Cli.Verbs;

/// <summary>What <c>rlhf dpo</c> and <c>rlhf kto</c> have in common: a policy, a reference, rows to learn, and how the run is shown and ends.</summary>
/// <typeparam name="TExample">What is learned from.</typeparam>
internal sealed class PreferenceRun<TExample> : IDisposable
{
    private readonly VerbContext context;
    private readonly PreferenceFlags flags;
    private readonly PreferenceConfig config;
    private readonly ChatTemplate? template;
    private readonly bool usesReference;

    /// <summary>Opens the policy.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="flags">What to train.</param>
    /// <param name="config">How.</param>
    /// <param name="usesReference">Is the policy compared with a reference?</param>
    public PreferenceRun(VerbContext context, PreferenceFlags flags, PreferenceConfig config, bool usesReference)
    {
        (this.context, this.flags, this.config, this.usesReference) = (context, flags, config, usesReference);
        HubFlags.CheckPush(context);
        Source = ModelFolders.Resolve(context, "--model", flags.Model);
        RefFolder = flags.RefModel is { } named ? ModelFolders.Resolve(context, "--ref-model", named) : null;
        Device = context.Settings.Get<ComputeFlags>().Start();
        Plan = context.Settings.Get<MemoryFlags>().On(Device);
        CheckMemory(null, usesReference);
        template = ChatTemplates.TryOf(context.Settings.Get<PairColumnFlags>().ChatTemplate, Source);
        Tokenizer = AutoTokenizer.FromPretrained(Source);
        Policy = AutoModelForCausalLM.FromPretrained(Source, Plan);
        LoraFlags.Attach(context, Policy, Source, config.Seed);
        int end = LanguageModels.EndToken(Source, Policy, Tokenizer);
        Tokens = new(Tokenizer, [end, .. Policy.EosTokenIds.Where(id => id != end)], config, Policy.MaxPositions);
    }

    public string Source { get; }

    public string? RefFolder { get; }

    public torch.Device Device { get; }

    /// <summary>Where and how the policy computes.</summary>
    public ComputePlan Plan { get; }

    public ITokenizer Tokenizer { get; }

    public CausalLM Policy { get; }

    public PreferenceTokens Tokens { get; }

    /// <summary>Refuses what does not fit into memory.</summary>
    /// <param name="rowLengths">Tokens of the rows of the largest minibatch; null where they are not known yet.</param>
    /// <param name="referenceStays">Is the reference in memory during training?</param>
    public void CheckMemory(int[]? rowLengths, bool referenceStays)
    {
        var plan = MemoryPlan.ForTraining($"Training {Source}", LoraFlags.Shaped(context, ModelShape.Of(Source)), config.BatchSize, rowLengths, Plan, predictsTokens: true);
        if (referenceStays)
            plan = plan with { Items = [MemoryPlan.Weights("reference", ModelShape.Of(RefFolder ?? Source).Parameters), .. plan.Items] };
        context.Settings.Get<ComputeFlags>().CheckMemory(LoraFlags.Sized(context, plan, Source, ownsReference: RefFolder is null), Device);
    }

    /// <summary>The model that the policy is compared with, which must know its tokens and lengths.</summary>
    public Reference OpenReference()
    {
        if (RefFolder is null)
            return Reference.Of(Policy);
        using var named = AutoModelForCausalLM.FromPretrained(RefFolder, Device);
        return named.VocabSize == Policy.VocabSize && named.MaxPositions >= Policy.MaxPositions
            // A copy belongs to the reference; another model would stay ours.
            ? Reference.CopyOf(named)
            : throw new ConfigurationException([$"--ref-model {RefFolder} has {named.VocabSize:N0} tokens and {named.MaxPositions:N0} positions, the policy "
                + $"{Policy.VocabSize:N0} and {Policy.MaxPositions:N0}; the reference must know the policy's tokens and lengths."]);
    }

    /// <summary>Rows as examples; says how many teach nothing, and refuses when none is left.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="encode">Encodes one; null where it teaches nothing.</param>
    /// <param name="what">What a row is, in the singular.</param>
    /// <param name="why">Why a row teaches nothing.</param>
    /// <param name="isTrained">Rows to train on rather than held-out ones?</param>
    public IReadOnlyList<TExample> Encode<TRow>(IReadOnlyList<TRow> rows, Func<TRow, TExample?> encode, string what, string why, bool isTrained)
    {
        TExample[] examples = [.. rows.AsParallel().AsOrdered().Select(encode).Where(e => e is not null).Select(e => e!)];
        string which = isTrained ? what : "held-out " + what, advice = context.Settings.NameFlags("Raise MaxLength, or shorten the answers.");
        if (examples.Length == 0 && rows.Count > 0 && isTrained)
            throw new InvalidDataException($"All {Numbers.Count(rows.Count, which)} {why}. {advice}");
        if (examples.Length < rows.Count)
            TrainingReport.Warn(context, $"Left out {Numbers.Count(rows.Count - examples.Length, which)} of {rows.Count:N0} that {why}. {advice}");
        return examples;
    }

    /// <summary>Trains, saves, measures and reports.</summary>
    /// <param name="folder">The run's folder, with config.yaml.</param>
    /// <param name="trainer">What trains.</param>
    /// <param name="train">Examples to learn.</param>
    /// <param name="heldOut">Examples that are only evaluated.</param>
    /// <param name="inputs">Fingerprints of models and data, by flag.</param>
    /// <param name="measure">What is measured at the end on held-out examples; null where the run was stopped.</param>
    public int Train(RunFolder folder, EpochTrainer<TExample> trainer, IReadOnlyList<TExample> train, IReadOnlyList<TExample> heldOut,
        IReadOnlyDictionary<string, string> inputs, Func<TrainProgress, PreferenceResult> measure)
    {
        long steps = config.TotalSteps(train.Count);
        var saved = new SavedModel((path, type) => Policy.SavePretrained(path, type), Tokenizer, template);
        var session = new CommandSession(context, folder, Source, trainer, saved.Save, inputs);
        var last = session.TrainOnExamples("Aligning", steps, report => trainer.Train(train, heldOut, report, context.Stop),
            state => [("accuracy", Percent(state.Metrics["rewards/accuracies"])),
                .. state.Metrics.TryGetValue("rewards/margins", out double margin) ? [("margin", ProgressDisplay.Number(margin, 3))] : Array.Empty<(string, string)>()],
            evaluation => ("held-out accuracy", Percent(evaluation.Metrics["rewards/accuracies"])));
        saved.Save(folder.Model, flags.Storage);
        var result = context.Stop.IsCancellationRequested ? new PreferenceResult(null, []) : measure(last);
        Finish(folder, last, result);
        session.Finish(last.Step >= steps && !context.Stop.IsCancellationRequested);
        return HubFlags.Push(context, folder.Model);
    }

    /// <summary>The facts that such a run shows before it begins.</summary>
    /// <param name="rows">What an example is called, in the plural.</param>
    /// <param name="train">Examples to learn.</param>
    /// <param name="heldOut">Examples that are only evaluated.</param>
    public IEnumerable<(string, string)> Facts(string rows, IReadOnlyList<TExample> train, IReadOnlyList<TExample> heldOut) =>
    [
        ("model", $"{ModelFolders.PlaceOf(Source)}, {LoraFlags.Describe(Policy)}"),
        ("reference", !usesReference ? "none" : RefFolder is null ? "the policy before training" : ModelFolders.PlaceOf(RefFolder)),
        (rows, $"{train.Count:N0} to train on, {heldOut.Count:N0} held out"),
        ("plan", $"{Numbers.Count(config.TotalSteps(train.Count), "step")} of {Math.Min(config.ExamplesPerStep, train.Count):N0}, up to "
            + $"{config.LengthFor(Policy.MaxPositions):N0} tokens of prompt and answer"),
    ];

    /// <summary>Fingerprints of the models, by flag.</summary>
    public Dictionary<string, string> Inputs => new()
    {
        ["--model"] = Fingerprint.OfModel(Source),
        ["--ref-model"] = RefFolder is null ? "the policy before training" : Fingerprint.OfModel(RefFolder),
    };

    private void Finish(RunFolder folder, TrainProgress last, PreferenceResult result)
    {
        var summary = new
        {
            Steps = last.Step,
            Seconds = last.Elapsed.TotalSeconds,
            last.Tokens,
            last.Loss,
            EvalLoss = last.Evaluation?.Loss,
            EvalAccuracy = last.Evaluation?.Metrics["rewards/accuracies"],
            EvalExamples = last.Evaluation?.Examples,
            result.HeldOutPairs,
            ModelDir = folder.Model,
        };
        var card = new ModelCard($"{ModelFolders.NameOf(Source)}, aligned by {context.Kind.Verb.ToUpperInvariant()}",
            $"A causal language model aligned to preferences with Rlhf (rlhf {context.Kind.Verb}).")
        {
            PipelineTag = "text-generation",
            Tags = [context.Kind.Verb, "rlhf"],
            BaseModel = ModelFolders.BaseModelOf(Source),
            Results =
            [
                new("steps", last.Step.ToString("N0", CultureInfo.InvariantCulture)),
                new("training loss of the last step", ProgressDisplay.Number(last.Loss, 4)),
                .. LoraFlags.Results(Policy),
                .. result.Facts,
            ],
        };
        TrainingReport.Write(context, folder, summary, card, config.LearningRate, config.BatchSize, config.Seed, last.Elapsed);
        if (result.Advice is { } advice)
            TrainingReport.Warn(context, advice);
    }

    internal static string Percent(double share) => ProgressDisplay.Number(100 * share, 1) + " %";

    public void Dispose() => Policy.Dispose();
}

/// <summary>What a run came to on held-out data.</summary>
/// <param name="HeldOutPairs">For summary.json; null where no pairs were measured.</param>
/// <param name="Facts">For the model card and the screen.</param>
/// <param name="Advice">A warning with what to do; null where there is nothing to say.</param>
internal sealed record PreferenceResult(object? HeldOutPairs, IReadOnlyList<KeyValuePair<string, string>> Facts, string? Advice = null);
