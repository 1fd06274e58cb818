using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Evaluation;
using Rlhf.Runtime.Files;

namespace Rlhf.Runs;

/// <summary>Rewards in a <see cref="RunSummary"/>.</summary>
/// <param name="Mean">Mean reward.</param>
/// <param name="Median">Median reward.</param>
/// <param name="Ci95">95 % bootstrap interval of the mean: low, high.</param>
internal sealed record RewardSummary(
    [property: JsonPropertyName("mean")] double Mean, [property: JsonPropertyName("median")] double Median,
    [property: JsonPropertyName("ci95")] IReadOnlyList<double> Ci95)
{
    internal static RewardSummary Of(SampleStatistics s) => new(s.Mean, s.Median, [s.MeanCi95.Low, s.MeanCi95.High]);
}

/// <summary>
/// What a PPO run came to: the content of summary.json. A run that was stopped has no evaluation, and the keys of it are absent.
/// </summary>
/// <param name="Steps">PPO steps.</param>
/// <param name="Seconds">Wall-clock time of the run.</param>
/// <param name="ModelDir">Where the trained model is.</param>
internal sealed record RunSummary(
    [property: JsonPropertyName("steps"), JsonPropertyOrder(-1)] long Steps,
    [property: JsonPropertyName("seconds"), JsonPropertyOrder(-1)] double Seconds,
    [property: JsonPropertyName("model_dir"), JsonPropertyOrder(1)] string ModelDir)
{
    private static readonly JsonSerializerOptions Options = new()
    {
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Held-out queries.</summary>
    [JsonPropertyName("queries"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? Queries { get; init; }

    /// <summary>Rewards before training.</summary>
    [JsonPropertyName("reward_before"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public RewardSummary? RewardBefore { get; init; }

    /// <summary>Rewards after training.</summary>
    [JsonPropertyName("reward_after"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public RewardSummary? RewardAfter { get; init; }

    /// <summary>Divergence of the trained policy from the reference, in nats per response.</summary>
    [JsonPropertyName("kl"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? Kl { get; init; }

    /// <summary>Different over all bigrams of response tokens, before.</summary>
    [JsonPropertyName("distinct2_before"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? Distinct2Before { get; init; }

    /// <summary>The same, after.</summary>
    [JsonPropertyName("distinct2_after"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? Distinct2After { get; init; }

    /// <summary>Perplexity of the responses under the reference, before; null when it is not finite.</summary>
    [JsonPropertyName("perplexity_before"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? PerplexityBefore { get; init; }

    /// <summary>The same, after.</summary>
    [JsonPropertyName("perplexity_after"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? PerplexityAfter { get; init; }

    /// <summary>Mean score of the second judge, before; null without one.</summary>
    [JsonPropertyName("judge_before"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? JudgeBefore { get; init; }

    /// <summary>The same, after.</summary>
    [JsonPropertyName("judge_after"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double? JudgeAfter { get; init; }

    /// <summary>Answers to each held-out query of which the policy before training had the best kept; null where that was not measured.</summary>
    [JsonPropertyName("best_of_answers"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? BestOfAnswers { get; init; }

    /// <summary>Rewards of those best answers: what needs no training.</summary>
    [JsonPropertyName("best_of_reward"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public RewardSummary? BestOfReward { get; init; }

    /// <summary>Sums up a run.</summary>
    /// <param name="comparison">The evaluation before and after; null when the run was stopped before it.</param>
    /// <param name="steps">PPO steps.</param>
    /// <param name="seconds">Wall-clock time of the run.</param>
    /// <param name="modelDir">Where the trained model is.</param>
    public static RunSummary Of(EvaluationComparison? comparison, long steps, double seconds, string modelDir)
    {
        var summary = new RunSummary(steps, seconds, modelDir);
        return comparison is not { Before: var before, After: var after, Rows: var rows } ? summary : summary with
        {
            Queries = rows.Count,
            RewardBefore = RewardSummary.Of(before.Reward),
            RewardAfter = RewardSummary.Of(after.Reward),
            Kl = Finite(after.Kl),
            Distinct2Before = before.Distinct2,
            Distinct2After = after.Distinct2,
            PerplexityBefore = Finite(before.Perplexity),
            PerplexityAfter = Finite(after.Perplexity),
            JudgeBefore = before.Judge?.Mean,
            JudgeAfter = after.Judge?.Mean,
        };
    }

    /// <summary>The summary as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Options);

    /// <summary>Writes summary.json atomically.</summary>
    /// <param name="folder">The run's folder, which must exist.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public void Save(string folder) => AtomicFile.WriteAllText(Path.Combine(folder, RunFiles.Summary), ToJson() + "\n");

    // JSON knows no infinity.
    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}
