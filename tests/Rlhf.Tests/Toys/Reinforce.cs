using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using static TorchSharp.torch;

namespace Rlhf.Tests.Toys;

/// <summary>Settings of <see cref="Reinforce"/>.</summary>
public sealed record ReinforceConfig
{
    [MayChange]
    public double LearningRate { get; init; } = 0.05;

    public int BatchSize { get; init; } = 8;

    public long Seed { get; init; }
}

/// <summary>What a step of it measured.</summary>
public sealed record ReinforceStatistics : PolicyStatistics
{
    public required double Loss { get; init; }

    public override IReadOnlyDictionary<string, double> Scalars() => new Dictionary<string, double>
    {
        ["reinforce/reward"] = RewardMean,
        ["reinforce/loss"] = Loss,
    };

    public override IReadOnlyDictionary<string, float[]> Distributions() => new Dictionary<string, float[]>();
}

/// <summary>REINFORCE: the logprob of each answer, weighted with how much better than the batch's mean it was scored.</summary>
public sealed class Reinforce(CausalLM policy, ReinforceConfig config) : IPolicyTrainer, IDisposable
{
    private readonly Adam optimizer = new(policy.Parameters);

    /// <summary>What reports and the studio know of it.</summary>
    public static TrainingKind Kind { get; } = new("reinforce", "REINFORCE")
    {
        Metrics = [new("Is it getting better?", [new("reinforce/reward", "Score of the answers", "Mean score of a step's answers. It should rise.")])],
        Headlines = ["reinforce/reward"],
        Charts = [new("reward", "score", new MetricLine("reinforce/reward", 1))],
        HeldOut = [new("mean_score", "Score of held-out answers") { Metric = "reinforce/reward", HigherIsBetter = true }],
    };

    public string Name => "reinforce";

    public CausalLM Policy => policy;

    public int BatchSize => config.BatchSize;

    public long Seed => config.Seed;

    public int BadStepsInARow => 0;

    public long StepCount { get; private set; }

    public IReadOnlyList<StateFile> Files =>
    [
        new(StateFile.Model, policy.Parameters.Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value))),
        new(StateFile.Optimizer, optimizer.State),
    ];

    public PolicyStatistics Step(Rollout rollout, IReadOnlyList<float> scores, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        using var scope = NewDisposeScope();
        using var rows = ScoredRows.Of([.. rollout.Queries.Zip(rollout.Responses, TokenRow.Of)]);
        float mean = scores.Average();
        var advantages = rows.Spread(tensor(scores.Select(s => s - mean).ToArray()));
        var hidden = rows.Hidden(policy.Forward(rows.Batch));
        double loss = 0;
        var pass = policy.Head.ForwardBackward(hidden, rows.Targets, all =>
        {
            loss = -(all.Logprobs * advantages).sum().item<float>() / scores.Count;
            return -advantages / scores.Count;
        });
        autograd.backward([hidden], [pass.HiddenGradient]);
        optimizer.Step(config.LearningRate);
        optimizer.ZeroGradients();
        return new ReinforceStatistics { Step = ++StepCount, Scores = [.. scores], Warnings = [], Loss = loss };
    }

    public JsonNode CaptureState() => new JsonObject { ["step"] = StepCount };

    public void RestoreState(JsonElement state) => StepCount = state.GetProperty("step").GetInt64();

    public void Dispose() => optimizer.Dispose();
}
