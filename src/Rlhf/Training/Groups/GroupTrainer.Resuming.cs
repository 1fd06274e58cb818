using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using static TorchSharp.torch;

namespace Rlhf.Training.Groups;

/// <summary>What surrounds the algorithm: the state that is saved, the loop's view of the trainer, and where tests look on.</summary>
public abstract partial class GroupTrainer
{
    private int[][] lastRows = [];
    private long trainedTokens;

    /// <inheritdoc/>
    public abstract string Name { get; }

    int IPolicyTrainer.BatchSize => Options.BatchSize;

    long IPolicyTrainer.Seed => Options.Seed;

    bool IPolicyTrainer.RequiresFiniteScores => Options.Divergence.NonFiniteRewardAction == GuardAction.Stop;

    /// <inheritdoc/>
    public int BadStepsInARow => Guards.BadStepsInARow;

    /// <inheritdoc/>
    public bool IsBetweenSteps { get; private set; } = true;

    /// <inheritdoc/>
    public IReadOnlyList<StateFile> Files =>
    [
        new(Policy.TrainedFile, Policy.TrainedParameters.Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value))),
        new(StateFile.Optimizer, optimizer.State),
    ];

    /// <summary>Watches for divergence.</summary>
    internal GroupGuards Guards { get; }

    /// <summary>Called before each optimizer step, with the gradients complete.</summary>
    internal Action? AfterBackward { get; set; }

    /// <summary>Where tests look on.</summary>
    internal TrainingHooks Hooks { get; set; } = TrainingHooks.Default;

    PolicyStatistics IPolicyTrainer.Step(Rollout rollout, IReadOnlyList<float> scores, CancellationToken cancellation) =>
        Step(rollout, scores, cancellation);

    /// <inheritdoc/>
    public void EndRun(long totalSteps) => Guards.EndRun(totalSteps);

    /// <inheritdoc/>
    public bool IsUsable()
    {
        if (!Policy.TrainedParameters.AreFinite())
            return false;
        if (lastRows.Length == 0)
            return true;
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var batch = PackedBatch.FromRows(lastRows, Policy.Device);
        return Policy.Head.Logprobs(Policy.Forward(batch), batch.InputIds).IsFinite();
    }

    /// <summary>The step, the tokens so far and the bad steps in a row.</summary>
    public JsonNode CaptureState() => JsonSerializer.SerializeToNode(State, CheckpointJson.Options)!;

    /// <inheritdoc/>
    public void RestoreState(JsonElement state)
    {
        State = CheckpointJson.ReadState<SavedState>(state, s => s.Step >= 0 && s.BadStepsInARow >= 0 && s.Tokens >= 0)
            ?? throw new JsonException("The trainer's state is empty.");
        IsBetweenSteps = true;
    }

    /// <summary>Frees the optimizer's tensors, and the reference if it is a copy; the policy stays the caller's.</summary>
    public void Dispose()
    {
        optimizer.Dispose();
        Reference?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>All that a step changes beside weights and moments.</summary>
    private SavedState State
    {
        get => new(StepCount, trainedTokens, Guards.BadStepsInARow);
        set => (StepCount, trainedTokens, Guards.BadStepsInARow) = (value.Step, value.Tokens, value.BadStepsInARow);
    }

    private StepWatch Begin(Rollout rollout)
    {
        if (rollout.GroupSize != Options.NumGenerations)
            throw new ArgumentException($"The rollout has groups of {rollout.GroupSize} answers, but NumGenerations is {Options.NumGenerations}.",
                nameof(rollout));
        lastRows = [.. rollout.Queries.Zip(rollout.Responses, (q, r) => (int[])[.. q, .. r]).Take(ModelCheck.Rows)];
        Guards.Begin(StepCount + 1);
        return new StepWatch(Name);
    }

    internal sealed record SavedState(long Step, long Tokens, int BadStepsInARow);
}
