using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Training.Ppo;

/// <summary>
/// Stage 3 of RLHF: proximal policy optimisation of a language model against scores of whole responses,
/// held near a reference by a KL penalty. The steppable trainer of TRL 0.11.4, number for number.
/// </summary>
/// <remarks>Notation: B rows, N packed tokens of queries and responses, R response tokens, V vocabulary, D width.</remarks>
public sealed class PpoTrainer : IResumable, IDisposable
{
    /// <summary>torch.finfo(float32).eps.</summary>
    private const float FloatEpsilon = 1.1920929e-7f;

    private readonly Adam optimizer;
    private readonly IKlController klController;
    private readonly bool ownsReference;
    private readonly RandomStream order;
    private int[][] lastRows = [];

    /// <summary>Prepares the trainer.</summary>
    /// <param name="config">The settings.</param>
    /// <param name="model">The policy with its value head; trained in place.</param>
    /// <param name="refModel">The reference; null makes a frozen copy of the policy as it is now.</param>
    /// <param name="totalSteps">Steps of the run, for schedules that end; required unless the schedule is constant.</param>
    /// <exception cref="ConfigurationException">A setting cannot be used.</exception>
    /// <exception cref="ArgumentException">The schedule needs <paramref name="totalSteps"/>, NumSharedLayers is set although a reference is
    /// given, or all parameters are frozen.</exception>
    public PpoTrainer(
        PpoConfig config, CausalLMWithValueHead model, CausalLM? refModel = null, long? totalSteps = null)
    {
        config.ThrowIfInvalid();
        if (config.LearningRateSchedule != LearningRateSchedule.Constant && totalSteps is null)
            throw new ArgumentException($"A {config.LearningRateSchedule} schedule needs the number of steps of the run.",
                nameof(totalSteps));
        if (refModel is not null && config.NumSharedLayers is not null)
            throw new ArgumentException("NumSharedLayers makes its own reference from the policy; give one of the two.",
                nameof(refModel));
        (Config, Model) = (config, model);
        ownsReference = refModel is null;
        ReferenceModel = refModel ?? model.CreateReferenceModel(config.NumSharedLayers);
        optimizer = new Adam(model.NamedParameters);
        Guards = new PpoGuards(config);
        klController = config.AdaptiveKlControl
            ? new AdaptiveKlController(config.InitKlCoef, config.Target, config.Horizon)
            : new FixedKlController(config.InitKlCoef);
        LearningRateFactor = step =>
            Schedules.Factor(config.LearningRateSchedule, step, config.WarmupSteps, totalSteps ?? long.MaxValue);
        order = new RandomStream(config.Seed, "ppo/order");
        DrawPermutation = order.NextPermutation;
    }

    /// <summary>The settings.</summary>
    public PpoConfig Config { get; }

    /// <summary>The policy with its value head.</summary>
    public CausalLMWithValueHead Model { get; }

    /// <summary>What the policy is held near to.</summary>
    public CausalLM ReferenceModel { get; }

    /// <summary>Steps taken.</summary>
    public long StepCount { get; private set; }

    /// <summary>The KL coefficient β that the next step uses.</summary>
    public double KlCoef => klController.Value;

    /// <summary>Mean and deviation of all scores so far, where scores are scaled.</summary>
    public RunningMoments ScoreMoments { get; } = new();

    /// <summary>Factor of the learning rate at a step, counted from 0; replace it to use another schedule.</summary>
    public Func<long, double> LearningRateFactor { get; set; }

    /// <summary>The order in which an epoch visits the rows; tests replay TRL's.</summary>
    internal Func<int, int[]> DrawPermutation { get; set; }

    /// <summary>What TRL 0.11.4 does that this trainer does not; all off but in parity tests.</summary>
    internal TrlBehavior Compatibility { get; set; } = new();

    /// <summary>Called before each optimizer step with the minibatch's statistics.</summary>
    internal Action<MiniBatchStatistics>? AfterBackward { get; set; }

    /// <summary>Watches for divergence.</summary>
    internal PpoGuards Guards { get; }

    /// <summary>Where tests look on.</summary>
    internal TrainingHooks Hooks { get; set; } = TrainingHooks.Default;

    /// <summary>The optimizer, for its moments.</summary>
    internal Adam Optimizer => optimizer;

    /// <inheritdoc/>
    public bool IsBetweenSteps { get; private set; } = true;

    /// <inheritdoc/>
    public IReadOnlyList<StateFile> Files =>
    [
        new(StateFile.Model, Model.NamedParameters.Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value))),
        new(StateFile.Optimizer, optimizer.State),
    ];

    /// <inheritdoc/>
    public bool IsUsable()
    {
        if (!Model.NamedParameters.AreFinite())
            return false;
        if (lastRows.Length == 0)
            return true;
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var batch = PackedBatch.FromRows(lastRows, Model.Device);
        var hidden = Model.PretrainedModel.Forward(batch);
        return Model.PretrainedModel.Head.Logprobs(hidden, batch.InputIds).IsFinite() && Model.Values(hidden).IsFinite();
    }

    /// <summary>One PPO step on responses whose logprobs and values are computed anew, as TRL does.</summary>
    /// <param name="queries">Token ids of each query.</param>
    /// <param name="responses">Token ids of each response.</param>
    /// <param name="scores">One score per response; finite, unless <see cref="DivergenceConfig.NonFiniteRewardAction"/> is skip.</param>
    /// <param name="responseMasks">Per response token, 1 to train on it and 0 to leave it out; null trains on all.</param>
    /// <returns>What the step measured.</returns>
    /// <exception cref="ArgumentException">The batch has the wrong size, an empty row, or a score that is not finite.</exception>
    /// <exception cref="TrainingDivergedException"><see cref="PpoConfig.Divergence"/> says to stop.</exception>
    public PpoStatistics Step(
        IReadOnlyList<int[]> queries, IReadOnlyList<int[]> responses, IReadOnlyList<float> scores,
        IReadOnlyList<int[]>? responseMasks = null) =>
        Step(new Rollout(queries, responses), scores, responseMasks);

    /// <summary>
    /// One PPO step: KL against the reference, per-token rewards, advantages, epochs × minibatches, statistics.
    /// </summary>
    /// <param name="rollout">What the policy sampled; its logprobs and values are used when it brings them.</param>
    /// <param name="scores">One score per response; finite, unless <see cref="DivergenceConfig.NonFiniteRewardAction"/> is skip.</param>
    /// <param name="responseMasks">Per response token, 1 to train on it and 0 to leave it out; null trains on all.</param>
    /// <returns>What the step measured.</returns>
    /// <exception cref="ArgumentException">The batch has the wrong size, an empty row, or a score that is not finite.</exception>
    /// <exception cref="TrainingDivergedException"><see cref="PpoConfig.Divergence"/> says to stop; the update that failed was not
    /// applied. If it was the step's first (<see cref="IsBetweenSteps"/>), the trainer is as it was before the step.</exception>
    public PpoStatistics Step(Rollout rollout, IReadOnlyList<float> scores, IReadOnlyList<int[]>? responseMasks = null)
    {
        var before = State;
        try
        {
            return TakeStep(rollout, scores, responseMasks);
        }
        catch when (IsBetweenSteps)
        {
            State = before; // no weight has changed: the step never was, and the run can be saved as it stood before it
            throw;
        }
    }

    private PpoStatistics TakeStep(Rollout rollout, IReadOnlyList<float> scores, IReadOnlyList<int[]>? responseMasks)
    {
        var rows = new StepRows(rollout, responseMasks, Config, Model.PretrainedModel.MaxPositions, Compatibility);
        lastRows = [.. rollout.Queries.Zip(rollout.Responses, (q, r) => (int[])[.. q, .. r]).Take(ModelCheck.Rows)];
        Guards.Begin(StepCount + 1);
        scores = Guards.CheckScores(rows, scores);
        rows.CheckScores(scores, StepCount + 1);
        var clock = new PhaseClock();

        var scoresUsed = ScaleScores(scores, rows.Kept);
        var (logprobs, values, refLogprobs, kls) = ForwardPasses(rows, rollout);
        Hooks.BeforeUpdates(StepCount + 1, logprobs, kls);
        bool trains = Guards.CheckBeforeUpdates(rows, logprobs, values, refLogprobs, kls, scores);
        clock.Finish("time/ppo/forward_pass");

        double klCoef = klController.Value;
        var (nonScoreRewards, rewards) = PpoMath.Rewards(kls, rows.Mask, rows.Offsets, scoresUsed, klCoef);
        clock.Finish("time/ppo/compute_rewards");

        var (maskedValues, advantages, returns) = ComputeAdvantages(rows, values, rewards);
        var batch = new PpoBatch(rows.Offsets, rows.Mask, logprobs, refLogprobs, maskedValues, kls, nonScoreRewards, rewards,
            advantages, returns);
        clock.Finish("time/ppo/compute_advantages");

        double learningRate = Config.LearningRate * LearningRateFactor(StepCount);
        int epochs = 0;
        var miniBatches = trains ? Optimize(rows, batch, learningRate, clock, out epochs) : [];
        Guards.End(miniBatches);
        Allocator.ReleaseUnused();
        clock.Finish("time/ppo/optimize_step");

        var statistics = StepSummary.Of(
            StepCount + 1, Config, rows, batch, scores, scoresUsed, miniBatches, epochs, klCoef, learningRate, clock, Guards);
        klController.Update(statistics.Kl, statistics.KlDist.Length);
        StepCount++;
        IsBetweenSteps = true;
        return statistics;
    }

    /// <summary>The step, the KL coefficient, the scores' moments, and how far the random order is.</summary>
    public JsonNode CaptureState() => JsonSerializer.SerializeToNode(State, CheckpointJson.Options)!;

    /// <inheritdoc/>
    public void RestoreState(JsonElement state)
    {
        State = ReadState(state);
        IsBetweenSteps = true;
    }

    internal static SavedState ReadState(JsonElement state) => CheckpointJson.ReadState<SavedState>(state, s => s.Step >= 0
        && s.BadStepsInARow >= 0 && double.IsFinite(s.KlCoef) && double.IsFinite(s.ScoreMean) && s.ScoreStd >= 0 && s.ScoreVar >= 0
        && s.ScoreCount >= 0 && s.OrderPosition >= 0) ?? throw new JsonException("The trainer's state is empty.");

    /// <summary>All that a step changes beside weights and moments.</summary>
    private SavedState State
    {
        get => new(StepCount, klController.Value, ScoreMoments.Mean, ScoreMoments.Std, ScoreMoments.Var, ScoreMoments.Count,
            order.Position, Guards.BadStepsInARow)
        {
            InitKlCoef = Config.InitKlCoef,
        };
        set
        {
            StepCount = value.Step;
            // A run that goes on with another first coefficient is meant to use it now.
            (klController as AdaptiveKlController)?.Restore(
                (value.InitKlCoef ?? Config.InitKlCoef) == Config.InitKlCoef ? value.KlCoef : Config.InitKlCoef);
            ScoreMoments.Restore(value.ScoreMean, value.ScoreStd, value.ScoreVar, value.ScoreCount);
            order.Position = value.OrderPosition;
            Guards.BadStepsInARow = value.BadStepsInARow;
        }
    }

    internal sealed record SavedState(
        long Step, double KlCoef, double ScoreMean, double ScoreStd, double ScoreVar, double ScoreCount, long OrderPosition,
        int BadStepsInARow)
    {
        /// <summary>The setting that the coefficient began from; null in checkpoints that do not know it.</summary>
        public double? InitKlCoef { get; init; }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        optimizer.Dispose();
        if (ownsReference)
            ReferenceModel.Dispose();
    }

    private IReadOnlyList<float> ScaleScores(IReadOnlyList<float> scores, int[] kept)
    {
        if (Config.UseScoreScaling)
        {
            ScoreMoments.Update([.. kept.Select(b => scores[b])]);
            // Where all scores so far were the same, there is no deviation to divide by.
            float factor = ScoreMoments.Std > FloatEpsilon * Math.Abs(ScoreMoments.Mean) ? (float)ScoreMoments.Std + FloatEpsilon : 1;
            float mean = Config.UseScoreNorm ? (float)ScoreMoments.Mean : 0;
            scores = scores.Select(s => (s - mean) / factor).ToArray();
        }
        return Config.ScoreClip is { } clip ? scores.Select(s => Math.Clamp(s, (float)-clip, (float)clip)).ToArray() : scores;
    }

    /// <summary>
    /// Logprobs and values of the policy before the update, logprobs of the reference, and their divergence: each [R].
    /// </summary>
    private (float[] Logprobs, float[] Values, float[] RefLogprobs, float[] Kls) ForwardPasses(StepRows rows, Rollout rollout)
    {
        using var noGrad = no_grad();
        bool full = Config.KlPenalty == KlPenalty.Full;
        bool known = rollout is { Logprobs: not null, Values: not null };
        float[] logprobs = new float[rows.TokenCount], values = new float[rows.TokenCount];
        float[] refLogprobs = new float[rows.TokenCount], kls = new float[rows.TokenCount];
        if (known)
            for (int b = 0; b < rows.Count; b++)
            {
                rollout.Logprobs![b].CopyTo(logprobs, rows.Offsets[b]);
                rollout.Values![b].CopyTo(values, rows.Offsets[b]);
            }
        foreach (var chunk in Enumerable.Range(0, rows.Count).Chunk(Config.MiniBatchSize))
        {
            using var scope = NewDisposeScope();
            using var selected = rows.Select(chunk, Model.Device);
            var refHidden = selected.ResponseHidden(ReferenceModel.Forward(selected.Batch));
            if (!known || full)
            {
                var hidden = selected.ResponseHidden(Model.PretrainedModel.Forward(selected.Batch));
                if (!known)
                    selected.Scatter(Model.Values(hidden), values);
                if (full)
                {
                    var (kl, policy, reference) =
                        Model.PretrainedModel.Head.FullKl(hidden, ReferenceModel.Head, refHidden, selected.Targets);
                    selected.Scatter(kl, kls);
                    selected.Scatter(reference, refLogprobs);
                    if (!known)
                        selected.Scatter(policy, logprobs);
                    continue;
                }
                selected.Scatter(Model.PretrainedModel.Head.Logprobs(hidden, selected.Targets), logprobs);
            }
            selected.Scatter(ReferenceModel.Head.Logprobs(refHidden, selected.Targets), refLogprobs);
        }
        if (!full)
            for (int i = 0; i < kls.Length; i++)
                kls[i] = PpoMath.Kl(Config.KlPenalty, logprobs[i], refLogprobs[i]);
        return (logprobs, values, refLogprobs, kls);
    }

    private (float[] Values, float[] Advantages, float[] Returns) ComputeAdvantages(
        StepRows rows, float[] values, float[] rewards)
    {
        var maskedValues = values.Zip(rows.Mask, (v, m) => v * m).ToArray();
        var maskedRewards = rewards.Zip(rows.Mask, (r, m) => r * m).ToArray();
        double[] tail = [];
        if (Config.WhitenRewards)
        {
            var whitened = PpoMath.MaskedWhiten(maskedRewards, rows.Mask, shiftMean: false);
            if (Compatibility.WhitensPadding)
                tail = rows.WhitenedTails(
                    PpoMath.MaskedMean(maskedRewards, rows.Mask), PpoMath.MaskedVar(maskedRewards, rows.Mask), Config);
            else
                for (int i = 0; i < whitened.Length; i++)
                    whitened[i] *= rows.Mask[i];
            maskedRewards = whitened;
        }
        var advantages = PpoMath.Advantages(maskedValues, maskedRewards, rows.Offsets, Config.Gamma, Config.Lam, tail);
        var returns = advantages.Zip(maskedValues, (a, v) => a + v).ToArray();
        return (maskedValues, PpoMath.MaskedWhiten(advantages, rows.Mask), returns);
    }

    /// <summary>Epochs of minibatches, in a new order each.</summary>
    private List<MiniBatchStatistics> Optimize(
        StepRows rows, PpoBatch batch, double learningRate, PhaseClock clock, out int epochs)
    {
        List<MiniBatchStatistics> all = [];
        for (epochs = 0; epochs < Config.PpoEpochs;)
        {
            epochs++;
            var permutation = DrawPermutation(rows.Count);
            foreach (var accumulated in permutation.Chunk(Config.MiniBatchSize * Config.GradientAccumulationSteps))
            {
                var chunks = accumulated.Chunk(Config.MiniBatchSize).ToArray();
                try
                {
                    List<MiniBatchStatistics> update = [];
                    while (update.Count < chunks.Length && (update.Count == 0 || update[^1].NonFinite is null))
                    {
                        var selected = rows.Select(chunks[update.Count], Model.Device);
                        update.Add(ForwardBackward(selected, batch, clock));
                        AfterBackward?.Invoke(update[^1]);
                    }
                    Hooks.AfterBackward(StepCount + 1, isFirst: IsBetweenSteps, optimizer);
                    long start = Stopwatch.GetTimestamp();
                    bool clips = !(Compatibility.ClipsFirstStepOnly && optimizer.States[0].Steps.cpu().ToDouble() > 0);
                    double norm = optimizer.ClipGradients(clips ? Config.MaxGradNorm : null);
                    if (update[^1].NonFinite is { } what)
                        Guards.NonFinite(what, update[^1].TotalLoss, chunks.Length);
                    else if (!double.IsFinite(norm))
                        Guards.NonFinite("gradient", norm, chunks.Length);
                    else
                    {
                        IsBetweenSteps = false;
                        optimizer.Step(learningRate);
                        all.AddRange([.. update[..^1], update[^1] with { GradNorm = norm }]);
                    }
                    clock.Add("time/ppo/optimize/optimizer", start);
                }
                finally
                {
                    // Also after a failure, so that nothing of this update reaches the next one.
                    optimizer.ZeroGradients();
                }
            }
            if (Config.EarlyStopping && all.Count > 0 && all[^1].PolicyKl > 1.5 * Config.TargetKl)
                break;
        }
        return all;
    }

    /// <summary>Adds the gradient of one minibatch.</summary>
    private MiniBatchStatistics ForwardBackward(SelectedRows selected, PpoBatch batch, PhaseClock clock)
    {
        using var owned = selected;
        using var scope = NewDisposeScope();
        float[] maskOnHost = selected.Gather(batch.Mask), advantagesOnHost = selected.Gather(batch.Advantages);
        Hooks.BeforeForward(StepCount + 1, advantagesOnHost);
        double counted = Math.Max(1, maskOnHost.Sum());
        var weight = selected.ToDevice(maskOnHost).div_(counted);
        Tensor oldLogprobs = selected.ToDevice(selected.Gather(batch.Logprobs));
        Tensor oldValues = selected.ToDevice(selected.Gather(batch.Values));
        Tensor advantages = selected.ToDevice(advantagesOnHost), returns = selected.ToDevice(selected.Gather(batch.Returns));
        double scale = 1.0 / Config.GradientAccumulationSteps;

        long start = Stopwatch.GetTimestamp();
        var hidden = Hooks.Hidden(StepCount + 1, selected.ResponseHidden(Model.PretrainedModel.Forward(selected.Batch)));
        var values = Model.Values(hidden);
        start = clock.Add("time/ppo/optimize/forward", start);
        var outputHead = Model.PretrainedModel.Head;
        PolicyLoss Policy(long first, Tensor logprobs)
        {
            long r = logprobs.shape[0];
            return PpoMath.PolicyLoss(logprobs, oldLogprobs.narrow(0, first, r), advantages.narrow(0, first, r),
                weight.narrow(0, first, r), Config.ClipRange);
        }
        // Where minibatches add up, the ratio guard decides before the head's gradient is added to what others left there.
        var head = Config.GradientAccumulationSteps > 1
            ? outputHead.ForwardBackward(hidden, selected.Targets,
                all => Policy(0, all.Logprobs) is var loss && StepSummary.MeanRatio(loss, weight) > Config.RatioThreshold
                    ? null : loss.Gradient * scale, withEntropy: true)
            : outputHead.ForwardBackward(hidden, selected.Targets,
                (first, logprobs) => Policy(first, logprobs).Gradient * scale, withEntropy: true);
        clock.Add("time/ppo/optimize/head", start);

        MiniBatchStatistics statistics;
        Tensor valueGradient;
        using (no_grad())
        {
            var policyLoss = PpoMath.PolicyLoss(head.Logprobs, oldLogprobs, advantages, weight, Config.ClipRange);
            var valueLoss = PpoMath.ValueLoss(values, oldValues, returns, weight, Config.ClipRangeValue);
            statistics = StepSummary.OfMiniBatch(Config, policyLoss, valueLoss, head.Entropy!, values, weight,
                maskOnHost, advantagesOnHost, selected.Gather(batch.Returns), selected.Gather(batch.Values), selected.Tokens);
            valueGradient = valueLoss.Gradient * (Config.VfCoef * scale);
            // The backward pass is run all the same: it lets go of what the forward pass kept.
            if (statistics.SkippedByRatioThreshold || statistics.NonFinite is not null)
            {
                head.HiddenGradient.zero_();
                valueGradient.zero_();
                if (Config.GradientAccumulationSteps == 1)
                    outputHead.Layer.ZeroGradients();
            }
        }
        start = Stopwatch.GetTimestamp();
        BackwardPass.Run(() => autograd.backward([hidden, values], [head.HiddenGradient, valueGradient]));
        clock.Add("time/ppo/optimize/backward", start);
        return statistics;
    }
}
