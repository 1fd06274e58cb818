using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Training.Memory;
using TorchSharp;

namespace Rlhf.Training.Ppo;

/// <summary>What a PPO run will need of memory at its peak.</summary>
internal static class PpoMemory
{
    /// <summary>A PPO run.</summary>
    /// <param name="task">What is to be done with which model.</param>
    /// <param name="config">The settings.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="reference">The reference, where it is another model.</param>
    /// <param name="scorers">Reward model and judge, where they are models of this process.</param>
    /// <param name="queryLengths">Lengths of queries.</param>
    /// <param name="responseLengths">Lengths of responses.</param>
    /// <param name="plan">Where and how the policy computes.</param>
    public static MemoryPlan Plan(string task, PpoConfig config, ModelShape policy, ModelShape? reference, IReadOnlyList<ModelShape> scorers,
        LengthSampler queryLengths, LengthSampler responseLengths, ComputePlan plan)
    {
        int trained = policy.Layers - Math.Min(policy.Layers, config.NumSharedLayers ?? 0);
        // Shared layers and the embeddings are frozen and the reference's, too.
        long trainable = config.NumSharedLayers is null ? policy.Parameters : trained * policy.LayerParameters + 2L * policy.Width;
        return new RolloutMemory(config.BatchSize, config.MiniBatchSize, trained, trainable, reference?.Parameters ?? trainable)
            .Plan(task, policy, scorers, queryLengths, responseLengths, plan,
                $"Lower MiniBatchSize (now {config.MiniBatchSize}; raise GradientAccumulationSteps by as much), freeze and share lower layers with "
                + "NumSharedLayers, ask for shorter responses, or take a smaller model.");
    }
}
