using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Training.Ppo;

namespace Rlhf.Cli.Verbs;

/// <summary>What <c>rlhf ppo</c> says of a run before it, and on its model's card.</summary>
internal static class PpoFacts
{
    /// <summary>Steps, updates and trained weights.</summary>
    public static IEnumerable<(string Name, string Value)> Plan(
        CausalLMWithValueHead policy, PpoConfig config, long steps, Query[] train, QueryFlags lengths)
    {
        long trainable = policy.TrainedParameters.Where(p => p.Value.requires_grad).Sum(p => p.Value.numel());
        long all = policy.NamedParameters.Sum(p => p.Value.numel());
        int minibatches = config.BatchSize / config.MiniBatchSize;
        int updates = config.PpoEpochs * minibatches / config.GradientAccumulationSteps;
        double tokens = config.BatchSize * (train.Average(q => q.TokenIds.Length)
            + (lengths.ResponseMin + lengths.ResponseMax - 1) / 2.0);
        yield return ("plan", $"{Numbers.Count(steps, "step")} of {Numbers.Count(config.BatchSize, "query", "queries")}, "
            + $"about {tokens:N0} tokens each");
        yield return ("", $"{Numbers.Count(config.PpoEpochs, "epoch")} of {Numbers.Count(minibatches, "minibatch", "minibatches")}: "
            + $"{Numbers.Count(updates, "update")} per step, {steps * updates:N0} in all");
        yield return ("parameters", $"{all:N0}, {(trainable == all ? "all" : $"of which {trainable:N0} are")} trained");
    }

    /// <summary>The card, but for what every run puts there.</summary>
    public static ModelCard Card(string policyFolder, string goal, PpoTrainer trainer) => new(
        ModelFolders.NameOf(policyFolder) + ", aligned by PPO",
        $"A causal language model aligned to {goal} with Rlhf (rlhf ppo). The weights hold TRL's value head beside the language model.")
    {
        Tags = ["ppo", "rlhf"],
        BaseModel = ModelFolders.BaseModelOf(policyFolder),
        Results = [new("PPO steps", $"{trainer.StepCount:N0}"), .. LoraFlags.Results(trainer.Model.PretrainedModel)],
        Settings =
        [
            new("learning rate", SettingValue.Format(trainer.Config.LearningRate)),
            new("batch size", SettingValue.Format(trainer.Config.BatchSize)),
            new("first KL coefficient", SettingValue.Format(trainer.Config.InitKlCoef)),
            new("KL target", SettingValue.Format(trainer.Config.Target)),
            new("seed", SettingValue.Format(trainer.Config.Seed)),
        ],
    };
}
