using System.Globalization;
using System.Text.RegularExpressions;
using Rlhf.Cli.Models;
using Rlhf.Runtime.Files;

namespace Rlhf.Cli.Rewards;

/// <summary>What gives the score that --reward names.</summary>
internal enum RewardKind
{
    Model,
    Length,
    Regex,
    JsonSchema,
    ExactMatch,
    NumberMatch,
    Http,
    Exec,
    Script,
}

/// <summary>One value of --reward: KIND:ARGUMENT, a model or a script, with WEIGHT: before it where its weight is not 1.</summary>
/// <param name="Kind">What gives the score.</param>
/// <param name="Argument">Its argument: a pattern, a column, a file, an address, a command line, a model; may be empty for length.</param>
/// <param name="Weight">What the score is multiplied with.</param>
internal sealed partial record RewardSpec(RewardKind Kind, string Argument, double Weight)
{
    /// <summary>What values of --reward can be, for help.</summary>
    public const string Help = "What scores an answer: a reward model or classifier (folder or org/name), length or length:CHARACTERS, regex:PATTERN, "
        + "json-schema:FILE, exact-match:COLUMN, number-match:COLUMN, http://…, exec:PROGRAM, or a C# script FILE.csx. With WEIGHT: in front its score is "
        + "multiplied; given several times, scores are added.";

    private static readonly (string Prefix, RewardKind Kind)[] Prefixes =
    [
        ("length", RewardKind.Length), ("regex", RewardKind.Regex), ("json-schema", RewardKind.JsonSchema), ("exact-match", RewardKind.ExactMatch),
        ("number-match", RewardKind.NumberMatch), ("exec", RewardKind.Exec),
    ];

    /// <summary>Reads a value of --reward.</summary>
    public static RewardSpec Parse(string text)
    {
        double weight = 1;
        if (Weighted().Match(text) is { Success: true } match)
        {
            weight = double.Parse(match.Groups[1].Value, NumberStyles.Float, CultureInfo.InvariantCulture);
            text = match.Groups[2].Value;
        }
        if (text.StartsWith("http://", StringComparison.OrdinalIgnoreCase) || text.StartsWith("https://", StringComparison.OrdinalIgnoreCase))
            return new(RewardKind.Http, text, weight);
        foreach (var (prefix, kind) in Prefixes)
            if (text == prefix && kind == RewardKind.Length)
                return new(kind, "", weight);
            else if (text.StartsWith(prefix + ":", StringComparison.Ordinal))
                return new(kind, text[(prefix.Length + 1)..], weight);
        return new(text.EndsWith(".csx", StringComparison.OrdinalIgnoreCase) ? RewardKind.Script : RewardKind.Model, text, weight);
    }

    /// <summary>What is wrong with it, without asking a service or starting a program: the end of a sentence; null: nothing.</summary>
    public string? Problem()
    {
        switch (Kind)
        {
            case RewardKind.Model:
                return ModelFolders.Problem(Argument) is not { } problem ? null
                    : Prefixes.Any(p => p.Prefix == Argument) ? $"needs what it checks by: {Argument}:…" : problem + " Or a reward that checks: " + Kinds;
            case RewardKind.Length:
                return Argument.Length == 0 || (int.TryParse(Argument, NumberStyles.None, CultureInfo.InvariantCulture, out int n) && n > 0) ? null
                    : "needs a number of characters, such as length:200.";
            case RewardKind.Regex:
                try
                {
                    _ = new Regex(Argument);
                    return Argument.Length > 0 ? null : "needs a pattern, such as regex:^[0-9]+$.";
                }
                catch (ArgumentException e)
                {
                    return $"is not a regular expression: {e.Message}";
                }
            case RewardKind.JsonSchema or RewardKind.Script:
                return File.Exists(Argument) ? null : Directory.Exists(Argument) ? "is a folder; name a file." : $"does not exist: there is no file {Argument}.";
            case RewardKind.Http:
                return Uri.TryCreate(Argument, UriKind.Absolute, out _) ? null : "is not an address.";
            default:
                return Argument.Length > 0 ? null
                    : Kind == RewardKind.Exec ? "needs a program, such as exec:\"python3 grade.py\"." : "needs the name of a column.";
        }
    }

    /// <summary>The kinds, for advice.</summary>
    private const string Kinds = "length, regex:PATTERN, json-schema:FILE, exact-match:COLUMN, number-match:COLUMN, http://…, exec:PROGRAM, FILE.csx.";

    /// <summary>The column of the prompts that it compares with; null: none.</summary>
    public string? Column => Kind is RewardKind.ExactMatch or RewardKind.NumberMatch ? Argument : null;

    /// <summary>The file whose content decides the score; null: none.</summary>
    public string? Content => Kind is RewardKind.JsonSchema or RewardKind.Script ? Argument : null;

    /// <summary>As it is written.</summary>
    public override string ToString()
    {
        string text = Kind is RewardKind.Model or RewardKind.Http or RewardKind.Script ? Argument
            : Prefixes.First(p => p.Kind == Kind).Prefix + (Argument.Length > 0 ? ":" + Argument : "");
        return Weight == 1 ? text : $"{Settings.SettingValue.Format(Weight)}:{text}";
    }

    [GeneratedRegex(@"\A([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?):(.+)\z", RegexOptions.Singleline | RegexOptions.CultureInvariant)]
    private static partial Regex Weighted();
}
