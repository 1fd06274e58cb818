using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Training.Ppo;

/// <summary>
/// Stage 3 of RLHF: proximal policy optimization of a language model against scores of whole responses,
/// held near a reference by a KL penalty. The steppable trainer of TRL 0.11.4, number for number.
/// </summary>
/// <remarks>
/// Notation: B rows, N packed tokens of queries and responses, R response tokens, V vocabulary, D width.
/// Read it from <see cref="TakeStep"/> down; its formulas are in <see cref="PpoMath"/>. The file has over 300 lines, so that the algorithm
/// is in one place.
/// </remarks>
public sealed partial class PpoTrainer : IPolicyTrainer, IDisposable
{
    /// <summary>torch.finfo(float32).eps.</summary>
    private const float FloatEpsilon = 1.1920929e-7f;

    private readonly Adam optimizer;
    private readonly IKlController klController;

    /// <summary>Prepares the trainer.</summary>
    /// <param name="model">The policy with its value head; trained in place.</param>
    /// <param name="config">The settings.</param>
    /// <param name="reference">
    /// What the policy is held near to, freed with the trainer if it is a copy; null makes a frozen copy of the policy as it is now, or
    /// takes the policy with its adapter off, where it has one.
    /// </param>
    /// <param name="totalSteps">Steps of the run, for schedules that end; required unless the schedule is constant.</param>
    /// <param name="klController">Sets the KL coefficient; null takes the one that the settings describe.</param>
    /// <exception cref="ConfigurationException">A setting cannot be used.</exception>
    /// <exception cref="ArgumentException">The schedule needs <paramref name="totalSteps"/>, NumSharedLayers is set although a reference is
    /// given, or all parameters are frozen.</exception>
    public PpoTrainer(CausalLMWithValueHead model, PpoConfig config, Reference? reference = null, long? totalSteps = null,
        IKlController? klController = null)
    {
        config.ThrowIfInvalid();
        if (config.LearningRateSchedule != LearningRateSchedule.Constant && totalSteps is null)
            throw new ArgumentException($"A {config.LearningRateSchedule} schedule needs the number of steps of the run.",
                nameof(totalSteps));
        if (reference is not null && config.NumSharedLayers is not null)
            throw new ArgumentException("NumSharedLayers makes its own reference from the policy; give one of the two.",
                nameof(reference));
        (Config, Model) = (config, model);
        Reference = reference ?? Reference.Of(model.PretrainedModel, config.NumSharedLayers);
        optimizer = new Adam(model.TrainedParameters);
        Guards = new PpoGuards(config);
        this.klController = klController ?? (config.AdaptiveKlControl
            ? new AdaptiveKlController(config.InitKlCoef, config.Target, config.Horizon)
            : new FixedKlController(config.InitKlCoef));
        LearningRateFactor = step =>
            Schedules.Factor(config.LearningRateSchedule, step, config.WarmupSteps, totalSteps ?? long.MaxValue);
    }

    /// <summary>The settings.</summary>
    public PpoConfig Config { get; }

    /// <summary>The policy with its value head.</summary>
    public CausalLMWithValueHead Model { get; }

    /// <summary>What the policy is held near to.</summary>
    public Reference Reference { get; }

    /// <summary>Steps taken.</summary>
    public long StepCount { get; private set; }

    /// <summary>The KL coefficient β that the next step uses.</summary>
    public double KlCoef => klController.Value;

    /// <summary>Mean and deviation of all scores so far, where scores are scaled.</summary>
    public RunningMoments ScoreMoments { get; } = new();

    /// <summary>Factor of the learning rate at a step, counted from 0; replace it to use another schedule.</summary>
    public Func<long, double> LearningRateFactor { get; set; }

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
    /// <param name="rollout">What the policy sampled; its logprobs and values are used when it brings both.</param>
    /// <param name="scores">One score per response; finite, unless <see cref="DivergenceConfig.NonFiniteRewardAction"/> is skip.</param>
    /// <param name="responseMasks">Per response token, 1 to train on it and 0 to leave it out; null trains on all.</param>
    /// <param name="cancellation">Gives the step up before its first update; afterwards it is finished.</param>
    /// <returns>What the step measured.</returns>
    /// <exception cref="ArgumentException">The batch has the wrong size, an empty row, or a score that is not finite.</exception>
    /// <exception cref="TrainingDivergedException"><see cref="PpoConfig.Divergence"/> says to stop; the update that failed was not
    /// applied. If it was the step's first (<see cref="IsBetweenSteps"/>), the trainer is as it was before the step.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; the trainer is as it was before the step.</exception>
    public PpoStatistics Step(Rollout rollout, IReadOnlyList<float> scores, IReadOnlyList<int[]>? responseMasks = null,
        CancellationToken cancellation = default)
    {
        var before = State;
        try
        {
            return TakeStep(rollout, scores, responseMasks, cancellation);
        }
        catch when (IsBetweenSteps)
        {
            State = before; // no weight has changed: the step never was, and the run can be saved as it stood before it
            throw;
        }
    }

    private PpoStatistics TakeStep(
        Rollout rollout, IReadOnlyList<float> scores, IReadOnlyList<int[]>? responseMasks, CancellationToken cancellation)
    {
        var rows = new StepRows(rollout, responseMasks, Config.BatchSize, Model.PretrainedModel.MaxPositions, Compatibility.PositionsCountPadding);
        var watch = Begin(rollout);

        // 1. Scores: finite, divided by their running deviation, clipped.
        scores = rows.CheckScores(Guards.CheckScores(rows, scores), StepCount + 1);
        var scoresUsed = ScaleScores(scores, rows.Kept);

        // 2. Logprobs and values of the policy before the update, logprobs of the reference, and their divergence.
        var before = ForwardPasses(rows, rollout, cancellation);
        Hooks.BeforeUpdates(StepCount + 1, before.Logprobs, before.Kls);
        bool trains = Guards.CheckBeforeUpdates(rows, before, scores);
        watch.Done("forward_pass");

        // 3. Rewards of tokens: -β · KL, and the score on the last one.
        double klCoef = klController.Value;
        var (nonScoreRewards, rewards) = PpoMath.Rewards(before.Kls, rows.Mask, rows.Offsets, scoresUsed, klCoef);
        watch.Done("compute_rewards");

        // 4. Advantages by generalized advantage estimation, whitened, and returns.
        var (values, advantages, returns) = ComputeAdvantages(rows, before.Values, rewards);
        var batch = new PpoBatch(rows.Offsets, rows.Mask, before.Logprobs, before.RefLogprobs, values, before.Kls, nonScoreRewards, rewards,
            advantages, returns);
        watch.Done("compute_advantages");

        // 5. Epochs of minibatches, in a new order each.
        cancellation.ThrowIfCancellationRequested();
        double learningRate = Config.LearningRate * LearningRateFactor(StepCount);
        var updates = trains ? Optimize(rows, batch, learningRate, watch) : Updates.None;
        Guards.End(updates.MiniBatches);
        Allocator.ReleaseUnused();
        watch.Done("optimize_step");

        // 6. What the step measured; the KL controller reacts to it.
        var statistics = StepSummary.Of(
            StepCount + 1, Config, rows, batch, new(scores, scoresUsed), updates, klCoef, learningRate, watch, Guards);
        klController.Update(statistics.Kl, statistics.KlDist.Length);
        StepCount++;
        IsBetweenSteps = true;
        return statistics;
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

    /// <summary>The numbers [R] that a step begins with.</summary>
    private BeforeUpdates ForwardPasses(StepRows rows, Rollout rollout, CancellationToken cancellation)
    {
        using var noGrad = no_grad();
        bool full = Config.KlPenalty == KlPenalty.Full;
        bool known = rollout is { Logprobs: not null, Values: not null };
        var before = BeforeUpdates.Of(rows.TokenCount);
        var (logprobs, values, refLogprobs, kls) = before;
        if (known)
            for (int b = 0; b < rows.Count; b++)
            {
                rollout.Logprobs![b].CopyTo(logprobs, rows.Offsets[b]);
                rollout.Values![b].CopyTo(values, rows.Offsets[b]);
            }
        foreach (var chunk in Enumerable.Range(0, rows.Count).Chunk(Config.MiniBatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var selected = rows.Select(chunk, Model.Device);
            var refHidden = selected.ResponseHidden(Reference.Forward(selected.Batch));
            if (!known || full)
            {
                var hidden = selected.ResponseHidden(Model.PretrainedModel.Forward(selected.Batch));
                if (!known)
                    selected.Scatter(Model.Values(hidden), values);
                if (full)
                {
                    var (kl, policy, reference) =
                        Model.PretrainedModel.Head.FullKl(hidden, Reference.Head, refHidden, selected.Targets);
                    selected.Scatter(kl, kls);
                    selected.Scatter(reference, refLogprobs);
                    if (!known)
                        selected.Scatter(policy, logprobs);
                    continue;
                }
                selected.Scatter(Model.PretrainedModel.Head.Logprobs(hidden, selected.Targets), logprobs);
            }
            selected.Scatter(Reference.Head.Logprobs(refHidden, selected.Targets), refLogprobs);
        }
        if (!full)
            for (int i = 0; i < kls.Length; i++)
                kls[i] = PpoMath.Kl(Config.KlPenalty, logprobs[i], refLogprobs[i]);
        return before;
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
                tail = Compatibility.WhitenedTails(rows, maskedRewards, Config);
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
    private Updates Optimize(StepRows rows, PpoBatch batch, double learningRate, StepWatch watch)
    {
        List<MiniBatchStatistics> all = [];
        int epochs = 0;
        bool movedTooFar = false;
        while (epochs < Config.PpoEpochs && !movedTooFar)
        {
            foreach (var accumulated in Permutation(epochs++, rows.Count).Chunk(Config.MiniBatchSize * Config.GradientAccumulationSteps))
                all.AddRange(Update([.. accumulated.Chunk(Config.MiniBatchSize)], rows, batch, learningRate, watch));
            movedTooFar = Config.EarlyStopping && all.Count > 0 && all[^1].PolicyKl > 1.5 * Config.TargetKl;
        }
        return new(all, epochs);
    }

    /// <summary>
    /// One optimizer step: the gradients of its minibatches, added up, clipped and applied. Nothing is where one of them is not finite.
    /// </summary>
    private IReadOnlyList<MiniBatchStatistics> Update(
        int[][] miniBatches, StepRows rows, PpoBatch batch, double learningRate, StepWatch watch)
    {
        try
        {
            List<MiniBatchStatistics> update = [];
            foreach (var miniBatch in miniBatches)
            {
                update.Add(ForwardBackward(rows.Select(miniBatch, Model.Device), batch, watch));
                AfterBackward?.Invoke(update[^1]);
                if (update[^1].NonFinite is not null)
                    break;
            }
            Hooks.AfterBackward(StepCount + 1, isFirst: IsBetweenSteps, optimizer);
            watch.BeginPart();
            bool clips = !(Compatibility.ClipsFirstStepOnly && optimizer.States[0].Steps.cpu().ToDouble() > 0);
            double norm = optimizer.ClipGradients(clips ? Config.MaxGradNorm : null);
            bool isFinite = Guards.CheckUpdate(update[^1].NonFinite, update[^1].TotalLoss, norm, miniBatches.Length);
            if (isFinite)
            {
                IsBetweenSteps = false;
                optimizer.Step(learningRate);
            }
            watch.PartDone("optimize/optimizer");
            return isFinite ? [.. update[..^1], update[^1] with { GradNorm = norm }] : [];
        }
        finally
        {
            // Also after a failure, so that nothing of this update reaches the next one.
            optimizer.ZeroGradients();
        }
    }

    /// <summary>Adds the gradient of one minibatch.</summary>
    private MiniBatchStatistics ForwardBackward(SelectedRows selected, PpoBatch batch, StepWatch watch)
    {
        using var owned = selected;
        using var scope = NewDisposeScope();
        float[] maskOnHost = selected.Gather(batch.Mask), advantagesOnHost = selected.Gather(batch.Advantages);
        Hooks.BeforeForward(StepCount + 1, advantagesOnHost);
        double counted = Math.Max(1, maskOnHost.Sum()), scale = 1.0 / Config.GradientAccumulationSteps;
        var weight = selected.ToDevice(maskOnHost).div_(counted);
        Tensor oldLogprobs = selected.ToDevice(selected.Gather(batch.Logprobs));
        Tensor oldValues = selected.ToDevice(selected.Gather(batch.Values));
        Tensor advantages = selected.ToDevice(advantagesOnHost), returns = selected.ToDevice(selected.Gather(batch.Returns));
        PolicyLoss Policy(long first, Tensor logprobs)
        {
            long r = logprobs.shape[0];
            return PpoMath.PolicyLoss(logprobs, oldLogprobs.narrow(0, first, r), advantages.narrow(0, first, r),
                weight.narrow(0, first, r), Config.ClipRange);
        }

        watch.BeginPart();
        var hidden = Hooks.Hidden(StepCount + 1, selected.ResponseHidden(Model.PretrainedModel.Forward(selected.Batch)));
        var values = Model.Values(hidden);
        watch.PartDone("optimize/forward");

        // Where minibatches add up, the ratio guard decides before the head's gradient is added to what others left there.
        var outputHead = Model.PretrainedModel.Head;
        var head = Config.GradientAccumulationSteps > 1
            ? outputHead.ForwardBackward(hidden, selected.Targets,
                all => Policy(0, all.Logprobs) is var loss && StepSummary.MeanRatio(loss, weight) > Config.RatioThreshold
                    ? null : loss.Gradient * scale, withEntropy: true)
            : outputHead.ForwardBackward(hidden, selected.Targets,
                (first, logprobs) => Policy(first, logprobs).Gradient * scale, withEntropy: true);
        watch.PartDone("optimize/head");

        MiniBatchStatistics statistics;
        Tensor valueGradient;
        using (no_grad())
        {
            var policyLoss = Policy(0, head.Logprobs);
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
        watch.BeginPart();
        BackwardPass.Run(() => autograd.backward([hidden, values], [head.HiddenGradient, valueGradient]));
        watch.PartDone("optimize/backward");
        return statistics;
    }

    /// <summary>
    /// The order in which an epoch visits the rows: a function of seed, step and epoch. A permutation of n rows takes n - 1 random numbers.
    /// </summary>
    private int[] Permutation(int epoch, int rows) => DrawPermutation?.Invoke(rows)
        ?? new RandomStream(Config.Seed, "ppo/order") { Position = (StepCount * Config.PpoEpochs + epoch) * (rows - 1) }.NextPermutation(rows);
}
