using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Rewards;
using Rlhf.Tokenizers;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>PPO in the common loop.</summary>
internal static class PpoRuns
{
    /// <summary>A run by the trainer, whose hooks are the run's.</summary>
    public static RolloutRun RunOf(PpoTrainer trainer, ITokenizer tokenizer, IRewardFunction reward, IReadOnlyList<Query> queries,
        GenerationConfig? generation = null, LengthSampler? responseLengths = null) =>
        new(trainer, new TextGenerator(trainer.Model), tokenizer, reward, queries,
            new RolloutPlan(generation, responseLengths ?? RolloutPlan.LessonLengths))
        { Hooks = trainer.Hooks };

    /// <summary>What PPO measured.</summary>
    public static PpoStatistics Ppo(this RolloutProgress progress) => (PpoStatistics)progress.Statistics;
}
