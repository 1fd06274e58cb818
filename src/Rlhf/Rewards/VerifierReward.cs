using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Rlhf.Runtime.Text;

namespace Rlhf.Rewards;

/// <summary>Rewards that check an answer by a rule, without a model: 1 for right, 0 for wrong.</summary>
public static partial class VerifierReward
{
    /// <summary>Longest time that a pattern may take over one answer.</summary>
    private static readonly TimeSpan PatternTime = TimeSpan.FromSeconds(1);

    /// <summary>1 where a pattern is found in the response.</summary>
    /// <param name="pattern">A regular expression of .NET; begin it with ^ and end it with $ to match whole responses.</param>
    /// <exception cref="ArgumentException">The pattern is invalid.</exception>
    public static IRewardFunction Matches(string pattern)
    {
        var regex = new Regex(pattern, RegexOptions.CultureInvariant, PatternTime);
        return new DelegateReward("regex", completion =>
        {
            try
            {
                return regex.IsMatch(completion.Response) ? 1 : 0;
            }
            catch (RegexMatchTimeoutException e)
            {
                throw new RewardException($"Reward 'regex': the pattern takes more than {PatternTime.TotalSeconds:0} s over {completion.Quoted()}. "
                    + "Write it without repetitions of repetitions.", completion, e);
            }
        });
    }

    /// <summary>1 where the response is a column's text, up to white space at both ends.</summary>
    /// <param name="column">A column of the query's row (<see cref="Completion.Fields"/>).</param>
    public static IRewardFunction ExactMatch(string column) => new DelegateReward("exact_match", completion =>
        completion.Response.AsSpan().Trim().SequenceEqual(Text(completion, column, "exact_match").AsSpan().Trim()) ? 1 : 0);

    /// <summary>1 where the last number in the response is a column's number, or the last one in its text.</summary>
    /// <param name="column">A column of the query's row (<see cref="Completion.Fields"/>).</param>
    /// <remarks>Commas between thousands are left out; numbers are the same when they differ by less than a millionth of their size.</remarks>
    public static IRewardFunction NumberMatch(string column) => new DelegateReward("number_match", completion =>
    {
        double right = LastNumber(Text(completion, column, "number_match")) ?? throw new RewardException(
            $"Reward 'number_match': the column {column} holds no number in the row of {completion.Quoted()}.", completion);
        return LastNumber(completion.Response) is { } found && Math.Abs(found - right) <= 1e-6 * Math.Max(Math.Abs(found), Math.Abs(right)) ? 1 : 0;
    });

    /// <summary>The length of the response in characters.</summary>
    public static IRewardFunction Length() => new DelegateReward("length", (Completion completion) => completion.Response.Length);

    /// <summary>Nearness of the response's length to a target: 1 there, falling evenly to 0 at nothing and at twice as many.</summary>
    /// <param name="characters">The target, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The target is below 1.</exception>
    public static IRewardFunction Length(int characters)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(characters, 1);
        return new DelegateReward("length", completion => Math.Max(0, 1 - Math.Abs(completion.Response.Length - characters) / (float)characters));
    }

    /// <summary>The last number of a text; null where it has none.</summary>
    internal static double? LastNumber(string text) => Number().Matches(text) is { Count: > 0 } numbers
        && double.TryParse(numbers[^1].Value.Replace(",", "", StringComparison.Ordinal), NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            ? number : null;

    /// <summary>A column's value as text.</summary>
    /// <exception cref="RewardException">The row has no such column.</exception>
    internal static string Text(Completion completion, string column, string reward) => completion.Fields.TryGetValue(column, out var value)
        ? value switch
        {
            string text => text,
            bool flag => flag ? "true" : "false",
            JsonNode node => node.ToJsonString(),
            null => "",
            _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
        }
        : throw new RewardException($"Reward '{reward}' compares with the column {UntrustedText.Quote(column)}, but the row of {completion.Quoted()} has "
            + (completion.Fields.Count == 0 ? "no other columns." : $"{string.Join(", ", completion.Fields.Keys.Take(20).Select(k => UntrustedText.Quote(k, 40)))}."),
            completion);

    [GeneratedRegex(@"(?<![\d.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?", RegexOptions.CultureInvariant)]
    private static partial Regex Number();
}
