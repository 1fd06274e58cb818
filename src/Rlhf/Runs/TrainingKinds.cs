using Rlhf.Runs.Kinds;

namespace Rlhf.Runs;

/// <summary>The kinds of training that this program knows. To add one, add a line here, or <see cref="Register"/> it from another assembly.</summary>
public static class TrainingKinds
{
    private static readonly Lock Gate = new();

    /// <summary>Those of this library, in the order in which they are usually run.</summary>
    internal static IReadOnlyList<TrainingKind> Own { get; } =
        [SftKind.Instance, RewardKind.Instance, PreferenceKinds.Dpo, PreferenceKinds.Kto, GroupKinds.Grpo, GroupKinds.Rloo, PpoKind.Instance];

    private static IReadOnlyList<TrainingKind> all = Own;

    /// <summary>All of them: those of this library in the order in which they are usually run, then those that were registered.</summary>
    public static IReadOnlyList<TrainingKind> All => all;

    /// <summary>Adds a kind, such as one of another assembly; one of the same verb is replaced.</summary>
    /// <exception cref="ArgumentException">The verb is not a word of lower-case letters, digits and hyphens.</exception>
    public static void Register(TrainingKind kind)
    {
        if (kind.Verb.Length == 0 || kind.Verb.Any(c => !char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c != '-'))
            throw new ArgumentException($"The verb '{kind.Verb}' must be lower-case letters, digits and hyphens.", nameof(kind));
        lock (Gate)
            all = [.. all.Where(k => k.Verb != kind.Verb), kind];
    }

    /// <summary>The kind of a verb, or null.</summary>
    public static TrainingKind? Find(string verb) => all.FirstOrDefault(k => k.Verb == verb);

    /// <summary>The kind of a run: that of its verb, or where that is not known, the one that logs most of its metrics.</summary>
    /// <param name="verb">The run's verb; may be empty.</param>
    /// <param name="metrics">Names of the metrics that it logged.</param>
    public static TrainingKind Of(string verb, IEnumerable<string> metrics)
    {
        if (Find(verb) is { } known)
            return known;
        var logged = metrics.ToHashSet();
        var likely = all.MaxBy(k => k.Metrics.Sum(g => g.Metrics.Count(m => logged.Contains(m.Name))))!;
        return likely with { Verb = verb, Title = "training run", HeldOut = [EpochTraining.HeldOutLoss] };
    }
}
