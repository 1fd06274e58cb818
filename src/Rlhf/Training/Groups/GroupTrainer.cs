using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Training.Groups;

/// <summary>
/// Learns from groups of answers to the same prompts: each answer is compared with the others of its group, so that no value head is
/// needed. How an advantage is made of a group's rewards, and a loss of advantages, is the algorithm's.
/// </summary>
/// <remarks>
/// Notation: B answers, groups of G in a row, N packed tokens of prompts and answers, R answer tokens, r those of a minibatch, V vocabulary,
/// D width. Read it from <see cref="TakeStep"/> down.
/// </remarks>
public abstract partial class GroupTrainer : IPolicyTrainer, IDisposable
{
    private readonly Adam optimizer;
    private readonly OutputHead head;

    private protected GroupTrainer(CausalLM policy, GroupConfig config, Reference? reference, long? totalSteps)
    {
        config.ThrowIfInvalid();
        if (config.LearningRateSchedule != LearningRateSchedule.Constant && totalSteps is null)
            throw new ArgumentException($"A {config.LearningRateSchedule} schedule needs the number of steps of the run.", nameof(totalSteps));
        if (config.Beta == 0 && reference is not null)
            throw new ArgumentException("With Beta 0 there is no KL penalty, and a reference has no use; leave it out or set Beta.", nameof(reference));
        (Policy, Options) = (policy, config);
        Reference = config.Beta == 0 ? null : reference ?? Reference.Of(policy);
        optimizer = new Adam(policy.TrainedParameters, config.WeightDecay);
        head = policy.Head.AtTemperature(config.Temperature);
        Guards = new GroupGuards(config);
        LearningRateFactor = step =>
            Schedules.Factor(config.LearningRateSchedule, step, config.WarmupSteps, totalSteps ?? long.MaxValue);
    }

    /// <summary>The policy; trained in place.</summary>
    public CausalLM Policy { get; }

    /// <summary>What the policy is held near to; null with <see cref="GroupConfig.Beta"/> 0.</summary>
    public Reference? Reference { get; }

    /// <summary>Steps taken.</summary>
    public long StepCount { get; private set; }

    /// <summary>Factor of the learning rate at a step, counted from 0; replace it to use another schedule.</summary>
    public Func<long, double> LearningRateFactor { get; set; }

    /// <summary>The settings that all such algorithms share.</summary>
    private protected GroupConfig Options { get; }

    /// <summary>One step: logprobs of policy and reference, advantages within groups, passes × minibatches, statistics.</summary>
    /// <param name="rollout">What the policy answered; its logprobs are used when it brings them.</param>
    /// <param name="scores">One reward per answer; finite, unless <see cref="DivergenceConfig.NonFiniteRewardAction"/> is skip.</param>
    /// <param name="cancellation">Gives the step up before its first update; afterwards it is finished.</param>
    /// <returns>What the step measured.</returns>
    /// <exception cref="ArgumentException">The batch has the wrong size, an empty row, other groups, or a score that is not finite.</exception>
    /// <exception cref="TrainingDivergedException">The guards say to stop; the update that failed was not applied. If it was the step's
    /// first (<see cref="IsBetweenSteps"/>), the trainer is as it was before the step.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; the trainer is as it was before the step.</exception>
    public GroupStatistics Step(Rollout rollout, IReadOnlyList<float> scores, CancellationToken cancellation = default)
    {
        var before = State;
        try
        {
            return TakeStep(rollout, scores, cancellation);
        }
        catch when (IsBetweenSteps)
        {
            State = before; // no weight has changed: the step never was, and the run can be saved as it stood before it
            throw;
        }
    }

    private GroupStatistics TakeStep(Rollout rollout, IReadOnlyList<float> scores, CancellationToken cancellation)
    {
        // 1. The answers: whole groups with finite rewards; those that were cut off may be left out of the loss.
        var rows = new StepRows(rollout, null, Options.BatchSize, Policy.MaxPositions);
        var watch = Begin(rollout);
        scores = rows.CheckScores(Guards.CheckScores(rows, scores), StepCount + 1);
        LeaveOutTruncated(rows, rollout);

        // 2. Logprobs of the policy that answered, and of the reference.
        var before = ForwardPasses(rows, rollout, cancellation);
        Hooks.BeforeUpdates(StepCount + 1, before.Logprobs, before.Kls);
        bool trains = Guards.CheckBeforeUpdates(rows, before, scores);
        watch.Done("forward_pass");

        // 3. Advantages: how much better each answer is than others to the same prompt.
        var advantages = Advantages(rows, before, scores, rollout.Components);
        watch.Done("compute_advantages");

        // 4. Passes over the answers, each in a new order: minibatches, whose gradients are added up, clipped and applied.
        cancellation.ThrowIfCancellationRequested();
        double learningRate = Options.LearningRate * LearningRateFactor(StepCount);
        var updates = trains ? Optimize(rows, before, PerToken(rows, advantages.Values), learningRate, watch) : [];
        Guards.End();
        Allocator.ReleaseUnused();
        watch.Done("optimize_step");

        // 5. What the step measured.
        trainedTokens += rows.TokenCount;
        var statistics = GroupSummary.Of(
            StepCount + 1, rows, rollout, scores, before, advantages, updates, learningRate, trainedTokens, Guards, watch);
        StepCount++;
        IsBetweenSteps = true;
        return statistics;
    }

    /// <summary>How much better each answer is than others to the same prompt.</summary>
    /// <param name="rows">The answers.</param>
    /// <param name="before">Their logprobs before the step.</param>
    /// <param name="scores">Their rewards.</param>
    /// <param name="components">What the rewards are made of, where there are several.</param>
    private protected abstract GroupAdvantages Advantages(
        StepRows rows, AnswerLogprobs before, IReadOnlyList<float> scores, IReadOnlyList<ScoreComponent> components);

    /// <summary>A minibatch's part of the loss, differentiable by its logprobs.</summary>
    private protected abstract MiniBatchLoss Loss(MiniBatchTokens tokens, UpdateSize update);

    /// <summary>Leaves answers without an end token out, where the settings say so.</summary>
    private void LeaveOutTruncated(StepRows rows, Rollout rollout)
    {
        if (!Options.MaskTruncatedCompletions)
            return;
        var ended = rollout.EndedByEos ?? throw new ArgumentException(
            "MaskTruncatedCompletions needs to know which answers ended (Rollout.EndedByEos).", nameof(rollout));
        for (int b = 0; b < rows.Count; b++)
            if (!ended[b])
                rows.LeaveOut(b);
    }

    private CausalLM[] Readers => Reference is null ? [Policy] : [Policy, Reference.Model];

    /// <summary>Logprobs [R] of the answers, where the rollout does not bring them, and of the reference.</summary>
    private AnswerLogprobs ForwardPasses(StepRows rows, Rollout rollout, CancellationToken cancellation)
    {
        using var noGrad = no_grad();
        var before = Reference is null ? new AnswerLogprobs(new float[rows.TokenCount], null, [])
            : new(new float[rows.TokenCount], new float[rows.TokenCount], new float[rows.TokenCount]);
        for (int b = 0; b < rows.Count && rollout.Logprobs is { } known; b++)
            known[b].CopyTo(before.Logprobs, rows.Offsets[b]);
        if (rollout.Logprobs is not null && Reference is null)
            return before;
        foreach (var chunk in Enumerable.Range(0, rows.Count).Chunk(Options.MiniBatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var selected = rows.Select(chunk, Readers);
            if (rollout.Logprobs is null)
                selected.Scatter(head.Logprobs(selected.ResponseHidden(Policy.Forward(selected.Batch)), selected.Targets), before.Logprobs);
            if (Reference is { } reference)
                selected.Scatter(reference.Head.AtTemperature(Options.Temperature)
                    .Logprobs(selected.ResponseHidden(reference.Forward(selected.Batch)), selected.Targets), before.RefLogprobs!);
        }
        for (int i = 0; i < before.Kls.Length; i++)
            before.Kls[i] = before.Logprobs[i] - before.RefLogprobs![i];
        return before;
    }

    /// <summary>Passes over the answers, each in a new order.</summary>
    private List<GroupMiniBatch> Optimize(StepRows rows, AnswerLogprobs before, float[] advantages, double learningRate, StepWatch watch)
    {
        List<GroupMiniBatch> all = [];
        for (int pass = 0; pass < Options.NumIterations; pass++)
            foreach (var update in Permutation(pass, rows.Count).Chunk(Options.MiniBatchSize * Options.MiniBatchesPerUpdate))
                all.AddRange(Update([.. update.Chunk(Options.MiniBatchSize)], rows, before, advantages, learningRate, watch));
        return all;
    }

    /// <summary>
    /// One optimizer step: the gradients of its minibatches, added up, clipped and applied. Nothing is where one of them is not finite.
    /// </summary>
    private IReadOnlyList<GroupMiniBatch> Update(
        int[][] miniBatches, StepRows rows, AnswerLogprobs before, float[] advantages, double learningRate, StepWatch watch)
    {
        var size = new UpdateSize(miniBatches.Sum(m => m.Length), miniBatches.Sum(m => m.Sum(b => (double)rows.CountedTokens(b))), miniBatches.Length);
        try
        {
            List<GroupMiniBatch> update = [];
            foreach (var miniBatch in miniBatches)
            {
                update.Add(ForwardBackward(rows, miniBatch, before, advantages, size, watch));
                if (update[^1].NonFinite is not null)
                    break;
            }
            AfterBackward?.Invoke();
            Hooks.AfterBackward(StepCount + 1, isFirst: IsBetweenSteps, optimizer);
            watch.BeginPart();
            double norm = optimizer.ClipGradients(Options.MaxGradNorm);
            bool isFinite = Guards.CheckUpdate(update[^1].NonFinite, update[^1].Loss, norm, miniBatches.Length);
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
    private GroupMiniBatch ForwardBackward(
        StepRows rows, int[] miniBatch, AnswerLogprobs before, float[] advantages, UpdateSize size, StepWatch watch)
    {
        using var scope = NewDisposeScope();
        using var selected = rows.Select(miniBatch, Policy);
        float[] ofTokens = selected.Gather(advantages);
        Hooks.BeforeForward(StepCount + 1, ofTokens);
        watch.BeginPart();
        var hidden = Hooks.Hidden(StepCount + 1, selected.ResponseHidden(Policy.Forward(selected.Batch)));
        watch.PartDone("optimize/forward");

        // The loss is of all logprobs together: answers are averaged over, and entropies ranked. The head takes its gradient by each.
        GroupMiniBatch? measured = null;
        var pass = head.ForwardBackward(hidden, selected.Targets, all =>
        {
            using var enabled = enable_grad();
            var logprobs = all.Logprobs.detach().requires_grad_();
            var part = Loss(new(selected, logprobs, selected.ToDevice(selected.Gather(before.Logprobs)),
                before.RefLogprobs is { } reference ? selected.ToDevice(selected.Gather(reference)) : null,
                all.Entropy!, selected.ToDevice(ofTokens), selected.ToDevice(selected.Gather(rows.Mask))), size);
            measured = GroupMiniBatch.Of(part, all);
            return measured.NonFinite is not null || !part.Loss.requires_grad ? null : autograd.grad([part.Loss], [logprobs])[0];
        }, withEntropy: true);
        watch.PartDone("optimize/head");

        // The backward pass is run also where a guard leaves the gradient out: it lets go of what the forward pass kept.
        watch.BeginPart();
        BackwardPass.Run(() => autograd.backward([hidden], [pass.HiddenGradient]));
        watch.PartDone("optimize/backward");
        return measured!;
    }

    /// <summary>Each answer's number [B] at all of its tokens [R].</summary>
    private static float[] PerToken(StepRows rows, float[] perRow)
    {
        var perToken = new float[rows.TokenCount];
        for (int b = 0; b < rows.Count; b++)
            perToken.AsSpan(rows.Offsets[b]..rows.Offsets[b + 1]).Fill(perRow[b]);
        return perToken;
    }

    /// <summary>The order in which a pass visits the answers: a function of seed, step and pass. A permutation of n takes n - 1 random numbers.</summary>
    private int[] Permutation(int pass, int rows) =>
        new RandomStream(Options.Seed, Name + "/order") { Position = (StepCount * Options.NumIterations + pass) * (rows - 1) }.NextPermutation(rows);
}
