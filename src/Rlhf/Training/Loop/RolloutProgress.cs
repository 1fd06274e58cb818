using Rlhf.Rewards;
using Rlhf.Tracking;

namespace Rlhf.Training.Loop;

/// <summary>One finished step of a <see cref="RolloutRun"/>.</summary>
public sealed record RolloutProgress
{
    /// <summary>Number of the step; 1 is the first.</summary>
    public required long Step { get; init; }

    /// <summary>Steps of the run.</summary>
    public required long TotalSteps { get; init; }

    /// <summary>What the trainer measured.</summary>
    public required PolicyStatistics Statistics { get; init; }

    /// <summary>The step's queries and responses.</summary>
    public required IReadOnlyList<Completion> Completions { get; init; }

    /// <summary>Score of each of them.</summary>
    public required IReadOnlyList<float> Scores { get; init; }

    /// <summary>Time since <see cref="RolloutRun.Train"/> was called.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>All numbers under TRL's names, time per phase included.</summary>
    public required MetricRecord Metrics { get; init; }

    /// <summary>Steps in a row, up to this one, of which something was left out because its numbers were bad.</summary>
    public int BadStepsInARow { get; init; }

    /// <summary>The lesson's <c>game_log</c>: query, response and reward of the step's first rows.</summary>
    public SampleTable GameLog(int rows = 16) => new("game_log", Step, ["query", "response", "reward"],
        [.. Completions.Zip(Scores).Take(rows)
            .Select(row => (IReadOnlyList<object?>)[row.First.Query, row.First.Response, (double)row.Second])]);
}
