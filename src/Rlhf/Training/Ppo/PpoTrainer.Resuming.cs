using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using static TorchSharp.torch;

namespace Rlhf.Training.Ppo;

/// <summary>What surrounds the algorithm: the state that is saved, the loop's view of the trainer, and where tests look on.</summary>
public sealed partial class PpoTrainer
{
    private int[][] lastRows = [];

    string IPolicyTrainer.Name => "ppo";

    CausalLM IPolicyTrainer.Policy => Model.PretrainedModel;

    int IPolicyTrainer.BatchSize => Config.BatchSize;

    long IPolicyTrainer.Seed => Config.Seed;

    bool IPolicyTrainer.RequiresFiniteScores => Config.Divergence.NonFiniteRewardAction == GuardAction.Stop;

    /// <inheritdoc/>
    public int BadStepsInARow => Guards.BadStepsInARow;

    /// <inheritdoc/>
    public bool IsBetweenSteps { get; private set; } = true;

    /// <inheritdoc/>
    public IReadOnlyList<StateFile> Files =>
    [
        .. StateFile.Of(Model),
        new(StateFile.Optimizer, optimizer.State),
    ];

    /// <summary>The optimizer, for its moments.</summary>
    internal Adam Optimizer => optimizer;

    /// <summary>Watches for divergence.</summary>
    internal PpoGuards Guards { get; }

    /// <summary>What TRL 0.11.4 does that this trainer does not; all off but in parity tests.</summary>
    internal TrlBehavior Compatibility { get; set; } = new();

    /// <summary>Replaces the order in which an epoch visits the rows; tests replay TRL's.</summary>
    internal Func<int, int[]>? DrawPermutation { get; set; }

    /// <summary>Called before each optimizer step with the minibatch's statistics.</summary>
    internal Action<MiniBatchStatistics>? AfterBackward { get; set; }

    /// <summary>Where tests look on.</summary>
    internal TrainingHooks Hooks { get; set; } = TrainingHooks.Default;

    PolicyStatistics IPolicyTrainer.Step(Rollout rollout, IReadOnlyList<float> scores, CancellationToken cancellation) =>
        Step(rollout, scores, null, cancellation);

    /// <inheritdoc/>
    public void EndRun(long totalSteps) => Guards.EndRun(totalSteps);

    /// <inheritdoc/>
    public bool IsUsable()
    {
        if (!Model.TrainedParameters.AreFinite())
            return false;
        if (lastRows.Length == 0)
            return true;
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var batch = PackedBatch.FromRows(lastRows, Model.Device);
        var hidden = Model.PretrainedModel.Forward(batch);
        return Model.PretrainedModel.Head.Logprobs(hidden, batch.InputIds).IsFinite() && Model.Values(hidden).IsFinite();
    }

    /// <summary>The step, the KL coefficient and the scores' moments.</summary>
    public JsonNode CaptureState() => JsonSerializer.SerializeToNode(State, CheckpointJson.Options)!;

    /// <inheritdoc/>
    public void RestoreState(JsonElement state)
    {
        State = ReadState(state);
        IsBetweenSteps = true;
    }

    /// <summary>Frees the optimizer's tensors, and the reference if it is a copy; the policy stays the caller's.</summary>
    public void Dispose()
    {
        optimizer.Dispose();
        Reference.Dispose();
    }

    internal static SavedState ReadState(JsonElement state) => CheckpointJson.ReadState<SavedState>(state, s => s.Step >= 0
        && s.BadStepsInARow >= 0 && double.IsFinite(s.KlCoef) && double.IsFinite(s.ScoreMean) && s.ScoreStd >= 0 && s.ScoreVar >= 0
        && s.ScoreCount >= 0) ?? throw new JsonException("The trainer's state is empty.");

    /// <summary>All that a step changes beside weights and moments.</summary>
    private SavedState State
    {
        get => new(StepCount, klController.Value, ScoreMoments.Mean, ScoreMoments.Std, ScoreMoments.Var, ScoreMoments.Count,
            Guards.BadStepsInARow)
        {
            InitKlCoef = Config.InitKlCoef,
        };
        set
        {
            StepCount = value.Step;
            // A resumed run with another first coefficient is meant to use it now.
            klController.Restore((value.InitKlCoef ?? Config.InitKlCoef) == Config.InitKlCoef ? value.KlCoef : Config.InitKlCoef);
            ScoreMoments.Restore(value.ScoreMean, value.ScoreStd, value.ScoreVar, value.ScoreCount);
            Guards.BadStepsInARow = value.BadStepsInARow;
        }
    }

    private StepWatch Begin(Rollout rollout)
    {
        lastRows = [.. rollout.Queries.Zip(rollout.Responses, (q, r) => (int[])[.. q, .. r]).Take(ModelCheck.Rows)];
        Guards.Begin(StepCount + 1);
        return new StepWatch("ppo");
    }

    /// <remarks>Checkpoints before the order of an epoch became a function of the step also hold its position, which is ignored.</remarks>
    internal sealed record SavedState(
        long Step, double KlCoef, double ScoreMean, double ScoreStd, double ScoreVar, double ScoreCount, int BadStepsInARow)
    {
        /// <summary>The setting that the coefficient began from; null in checkpoints that do not know it.</summary>
        public double? InitKlCoef { get; init; }
    }
}
