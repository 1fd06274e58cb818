using Rlhf.Tracking;

namespace Rlhf.Runs;

/// <summary>A sampled query and response.</summary>
/// <param name="Step">The step at which it was sampled.</param>
/// <param name="Query">What was given.</param>
/// <param name="Response">What the policy wrote.</param>
/// <param name="Reward">Its reward; NaN where it has none.</param>
public sealed record RunSample(long Step, string Query, string Response, double Reward)
{
    /// <summary>The sample in a row of samples.jsonl; null for rows of other tables, such as warnings.</summary>
    internal static RunSample? Of(JsonlRow? row) => row is null || !row.Texts.TryGetValue("response", out var response) ? null
        : new(row.Step, row.Texts.GetValueOrDefault("query", ""), response, row.Numbers.GetValueOrDefault("reward", double.NaN));
}
