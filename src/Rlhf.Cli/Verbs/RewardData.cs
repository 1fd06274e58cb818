using Rlhf.Cli.Flags;
using Rlhf.Cli.Reports;
using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Tokenizers;
using Rlhf.Training.Loop;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Cli.Verbs;

/// <summary>What a reward model learns from: labeled texts, or preference pairs.</summary>
internal abstract class RewardData
{
    /// <summary>The flag that names it.</summary>
    public abstract string Flag { get; }

    /// <summary>What its rows are called.</summary>
    public abstract string Rows { get; }

    /// <summary>Rows to train on, as text.</summary>
    public abstract IEnumerable<string> Train { get; }

    /// <summary>Rows that are only evaluated, as text.</summary>
    public abstract IEnumerable<string> HeldOut { get; }

    /// <summary>Rows to train on, and rows that are only evaluated.</summary>
    public abstract (int Train, int HeldOut) Count { get; }

    /// <summary>The texts of a row to train on that the model reads.</summary>
    protected abstract IEnumerable<string[]> Texts { get; }

    /// <summary>Reads what the settings name.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="source">The model to start from.</param>
    public static RewardData Load(VerbContext context, string source)
    {
        var (options, seed) = (context.Settings.Get<RewardFlags>(), context.Settings.Get<RewardConfig>().Seed);
        if (options.Pairs is { } pairs)
            return new RewardPairs(context.Settings.Get<PairColumnFlags>().LoadSplit(context, pairs, seed, source));
        var labels = options.NewHeadLabels ?? AutoModelForSequenceClassification.Labels(source);
        var data = context.Settings.Get<DatasetFlags>();
        return new LabeledTexts(context.Settings.Get<HeldOutFlags>().Split(
            (path, split, limit) => data.Load(context, seed, path, split, limit, labels)));
    }

    /// <summary>Tokens of the longest texts of a minibatch; the longest by characters stand for the longest by tokens.</summary>
    public int[] LongestRows(ITokenizer tokenizer, RewardConfig config, int positions)
    {
        int longest = config.LengthFor(positions);
        return [.. Texts.OrderByDescending(texts => texts.Sum(t => t.Length)).Take(config.BatchSize).SelectMany(texts => texts)
            .Select(text => tokenizer.EncodeTruncated(text, longest).Length).DefaultIfEmpty(1)];
    }

    /// <summary>Leaves out rows that teach nothing, and says how many.</summary>
    public virtual void LeaveOutUseless(VerbContext context, RewardTrainer trainer)
    {
    }

    /// <summary>Trains.</summary>
    public abstract TrainProgress TrainWith(RewardTrainer trainer, Action<TrainProgress> report, CancellationToken stop);

    /// <summary>What is done with the trained model: measured, and its reward centered; null where there is nothing to do.</summary>
    public virtual PairReport.Outcome? Finish(VerbContext context, SequenceClassifier model, ITokenizer tokenizer) => null;
}

/// <summary>Texts with the label that the classifier is to give them.</summary>
internal sealed class LabeledTexts((IReadOnlyList<Review> Train, IReadOnlyList<Review> HeldOut) rows) : RewardData
{
    public override string Flag => "--dataset";

    public override string Rows => "texts";

    public override IEnumerable<string> Train => rows.Train.Select(r => r.ToString());

    public override IEnumerable<string> HeldOut => rows.HeldOut.Select(r => r.ToString());

    public override (int Train, int HeldOut) Count => (rows.Train.Count, rows.HeldOut.Count);

    protected override IEnumerable<string[]> Texts => rows.Train.Select(r => new[] { r.Text });

    public override TrainProgress TrainWith(RewardTrainer trainer, Action<TrainProgress> report, CancellationToken stop) =>
        trainer.Train(rows.Train, rows.HeldOut, report, stop);
}

/// <summary>Pairs of answers of which one is preferred.</summary>
internal sealed class RewardPairs((IReadOnlyList<PreferencePair> Train, IReadOnlyList<PreferencePair> HeldOut) rows) : RewardData
{
    public override string Flag => "--pairs";

    public override string Rows => "pairs";

    public override IEnumerable<string> Train => rows.Train.Select(r => r.ToString());

    public override IEnumerable<string> HeldOut => rows.HeldOut.Select(r => r.ToString());

    public override (int Train, int HeldOut) Count => (rows.Train.Count, rows.HeldOut.Count);

    protected override IEnumerable<string[]> Texts => rows.Train.Select(r => new[] { r.Prompt + r.Chosen, r.Prompt + r.Rejected });

    /// <summary>Training pairs whose two texts are the same in the tokens that the model reads of them.</summary>
    public override void LeaveOutUseless(VerbContext context, RewardTrainer trainer)
    {
        const string same = "say nothing: both texts are the same in the tokens that are read of them";
        const string advice = "Raise MaxLength, or shorten what the answers have in common.";
        IReadOnlyList<PreferencePair> train = trainer.Distinguishable(rows.Train), heldOut = trainer.Distinguishable(rows.HeldOut);
        if (train.Count == 0 && rows.Train.Count > 0)
            throw new InvalidDataException(context.Settings.NameFlags($"--pairs: all {rows.Train.Count:N0} pairs {same}. {advice}"));
        if (train.Count < rows.Train.Count)
            TrainingReport.Warn(context, $"{rows.Train.Count - train.Count:N0} of {rows.Train.Count:N0} pairs {same}. They are left out of "
                + $"training. {advice}");
        if (heldOut.Count < rows.HeldOut.Count)
            TrainingReport.Warn(context, $"{rows.HeldOut.Count - heldOut.Count:N0} of {rows.HeldOut.Count:N0} held-out pairs {same}. They "
                + $"count as wrong. {advice}");
        rows = (train, rows.HeldOut);
    }

    public override TrainProgress TrainWith(RewardTrainer trainer, Action<TrainProgress> report, CancellationToken stop) =>
        trainer.Train(rows.Train, rows.HeldOut, report, stop);

    public override PairReport.Outcome? Finish(VerbContext context, SequenceClassifier model, ITokenizer tokenizer) =>
        PairReport.Finish(model, tokenizer, rows.Train, rows.HeldOut, context.Settings.Get<RewardFlags>().NormalizeReward ?? model.CanShiftLogits);
}
