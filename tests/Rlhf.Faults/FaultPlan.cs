using System.Globalization;
using Rlhf.Runtime;

namespace Rlhf.Faults;

/// <summary>
/// Faults that tests put into a run, at steps that they choose: in the built command by an environment variable, such as
/// <c>nan-gradient@7</c> (step 7), <c>nan-loss@3-5</c>, <c>kl-explosion@10-</c> (from 10 on) or <c>nan-reward</c> (every
/// step), with commas between several.
/// </summary>
internal sealed class FaultPlan
{
    public const string NanLoss = "nan-loss", NanGradient = "nan-gradient", LateNanGradient = "late-nan-gradient", NanLogit = "nan-logit",
        NanReward = "nan-reward", KlExplosion = "kl-explosion", NegativeKl = "negative-kl", EntropyCollapse = "entropy-collapse",
        EqualRewards = "equal-rewards",
        ThrowingBackward = "throwing-backward", StopInEvaluation = "stop-in-evaluation";

    /// <summary>The variable that the built command's faults are read from.</summary>
    public const string Variable = "RLHF_TEST_FAULTS";

    private static readonly string[] Known = [NanLoss, NanGradient, LateNanGradient, NanLogit, NanReward, KlExplosion, NegativeKl,
        EntropyCollapse, EqualRewards, ThrowingBackward, StopInEvaluation];

    private readonly (string Fault, long First, long Last)[] entries;

    private FaultPlan((string, long, long)[] entries) => this.entries = entries;

    /// <summary>No faults.</summary>
    public static FaultPlan None { get; } = new([]);

    /// <summary>Reads a plan.</summary>
    /// <exception cref="ConfigurationException">A fault is unknown, or its steps are no numbers.</exception>
    public static FaultPlan Parse(string? text) => string.IsNullOrEmpty(text) ? None : new([.. text.Split(',').Select(ParseEntry)]);

    /// <summary>Does a fault strike at a step?</summary>
    public bool Strikes(string fault, long step)
    {
        foreach (var entry in entries)
            if (entry.Fault == fault && step >= entry.First && step <= entry.Last)
                return true;
        return false;
    }

    private static (string, long, long) ParseEntry(string entry)
    {
        string[] parts = entry.Trim().Split('@');
        if (parts.Length <= 2 && Known.Contains(parts[0]))
        {
            if (parts.Length == 1)
                return (parts[0], 0, long.MaxValue);
            string[] steps = parts[1].Split('-');
            bool open = steps.Length == 2 && steps[1].Length == 0;
            if (steps.Length <= 2 && TryRead(steps[0], out long first) && (open | TryRead(steps[^1], out long last)))
                return (parts[0], first, open ? long.MaxValue : last);
        }
        throw new ConfigurationException([$"{Variable}: '{entry}' is no fault; use FAULT@STEP, FAULT@FIRST-LAST or FAULT with one of "
            + $"{string.Join(", ", Known)}, or leave it unset."]);
    }

    private static bool TryRead(string text, out long number) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
}
