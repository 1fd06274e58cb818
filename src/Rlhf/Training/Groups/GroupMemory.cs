using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Training.Memory;
using TorchSharp;

namespace Rlhf.Training.Groups;

/// <summary>What a run over groups of answers will need of memory at its peak.</summary>
internal static class GroupMemory
{
    /// <summary>A run.</summary>
    /// <param name="task">What is to be done with which model.</param>
    /// <param name="config">The settings.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="reference">The reference, where it is another model.</param>
    /// <param name="scorers">Reward models and judge, where they are models of this process.</param>
    /// <param name="promptLengths">Lengths of prompts.</param>
    /// <param name="plan">Where and how the policy computes.</param>
    public static MemoryPlan Plan(string task, GroupConfig config, ModelShape policy, ModelShape? reference, IReadOnlyList<ModelShape> scorers,
        LengthSampler promptLengths, ComputePlan plan) =>
        new RolloutMemory(config.BatchSize, config.MiniBatchSize, policy.Layers, policy.Parameters,
            config.Beta == 0 ? 0 : (reference ?? policy).Parameters)
        .Plan(task, policy, scorers, promptLengths, new(config.MaxCompletionLength, config.MaxCompletionLength + 1), plan,
            $"Lower MiniBatchSize (now {config.MiniBatchSize}), BatchSize (now {config.BatchSize}) or MaxCompletionLength (now {config.MaxCompletionLength}), "
            + "or take a smaller model.");
}
