using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Runtime;

namespace Rlhf.Evaluation;

/// <summary>Rewards in a <see cref="RunSummary"/>.</summary>
/// <param name="Mean">Mean reward.</param>
/// <param name="Median">Median reward.</param>
/// <param name="Ci95">95 % bootstrap interval of the mean: low, high.</param>
public sealed record RewardSummary(double Mean, double Median, IReadOnlyList<double> Ci95)
{
    internal static RewardSummary Of(SampleStatistics s) => new(s.Mean, s.Median, [s.MeanCi95.Low, s.MeanCi95.High]);
}

/// <summary>What a finished PPO run came to: the content of summary.json.</summary>
/// <param name="Steps">PPO steps.</param>
/// <param name="Seconds">Wall-clock time of the run.</param>
/// <param name="Queries">Held-out queries.</param>
/// <param name="RewardBefore">Rewards before training.</param>
/// <param name="RewardAfter">Rewards after training.</param>
/// <param name="Kl">Divergence of the trained policy from the reference, in nats per response.</param>
/// <param name="Distinct2Before">Different over all bigrams of response tokens, before.</param>
/// <param name="Distinct2After">The same, after.</param>
/// <param name="PerplexityBefore">Perplexity of the responses under the reference, before; null when it is not finite.</param>
/// <param name="PerplexityAfter">The same, after.</param>
/// <param name="JudgeBefore">Mean score of the second judge, before; absent without one.</param>
/// <param name="JudgeAfter">The same, after.</param>
/// <param name="ModelDir">Where the trained model is.</param>
public sealed record RunSummary(
    [property: JsonPropertyName("steps")] long Steps,
    [property: JsonPropertyName("seconds")] double Seconds,
    [property: JsonPropertyName("queries")] int Queries,
    [property: JsonPropertyName("reward_before")] RewardSummary RewardBefore,
    [property: JsonPropertyName("reward_after")] RewardSummary RewardAfter,
    [property: JsonPropertyName("kl")] double? Kl,
    [property: JsonPropertyName("distinct2_before")] double Distinct2Before,
    [property: JsonPropertyName("distinct2_after")] double Distinct2After,
    [property: JsonPropertyName("perplexity_before")] double? PerplexityBefore,
    [property: JsonPropertyName("perplexity_after")] double? PerplexityAfter,
    [property: JsonPropertyName("judge_before"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] double? JudgeBefore,
    [property: JsonPropertyName("judge_after"), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] double? JudgeAfter,
    [property: JsonPropertyName("model_dir")] string ModelDir)
{
    private static readonly JsonSerializerOptions Options = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Sums up a run.</summary>
    /// <param name="comparison">The evaluation before and after.</param>
    /// <param name="steps">PPO steps.</param>
    /// <param name="seconds">Wall-clock time of the run.</param>
    /// <param name="modelDir">Where the trained model is.</param>
    public static RunSummary Of(EvaluationComparison comparison, long steps, double seconds, string modelDir)
    {
        var (before, after) = (comparison.Before, comparison.After);
        return new(steps, seconds, comparison.Rows.Count, RewardSummary.Of(before.Reward), RewardSummary.Of(after.Reward),
            Finite(after.Kl), before.Distinct2, after.Distinct2, Finite(before.Perplexity), Finite(after.Perplexity),
            before.Judge?.Mean, after.Judge?.Mean, modelDir);
    }

    /// <summary>The summary as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, Options);

    /// <summary>Writes summary.json atomically.</summary>
    /// <param name="folder">The run's folder, which must exist.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public void Save(string folder) => AtomicFile.WriteAllText(Path.Combine(folder, "summary.json"), ToJson() + "\n");

    // JSON knows no infinity.
    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}
