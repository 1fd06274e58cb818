using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Training.Loop;

namespace Rlhf.Training.Preferences;

/// <summary>
/// Kahneman and Tversky's optimization (<see cref="KtoObjective"/> in the loop of <see cref="EpochTrainer{TExample}"/>): from single
/// answers with thumbs up or down straight to a policy.
/// </summary>
/// <param name="model">The policy, trained in place; it stays the caller's.</param>
/// <param name="config">The settings.</param>
/// <param name="reference">What the policy is compared with; stays the caller's.</param>
/// <exception cref="ConfigurationException">A setting cannot be used.</exception>
public sealed class KtoTrainer(CausalLM model, KtoConfig config, Reference reference)
    : EpochTrainer<AnswerExample>(new KtoObjective(model, reference, config), config);
