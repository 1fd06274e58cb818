using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Training.Loop;

namespace Rlhf.Training.Sft;

/// <summary>
/// Stage 1 of RLHF: a causal language model learns texts, or completions of prompts, by next-token cross entropy
/// (<see cref="SftObjective"/> in the loop of <see cref="EpochTrainer{TExample}"/>).
/// </summary>
/// <param name="model">The model to train, in place; it stays the caller's.</param>
/// <param name="config">The settings.</param>
/// <exception cref="ConfigurationException">A setting cannot be used.</exception>
public sealed class SftTrainer(CausalLM model, SftConfig config) : EpochTrainer<SftExample>(new SftObjective(model), config);
