using Rlhf.Runtime;

namespace Rlhf.Models;

/// <summary>
/// One family of models, such as GPT-2 or Llama: how its config.json is read and its models are made. Everything that depends on
/// <c>model_type</c> asks here; <see cref="ModelFamilies.Register"/> adds one.
/// </summary>
public abstract class ModelFamily
{
    /// <summary><c>model_type</c> of config.json.</summary>
    public abstract string ModelType { get; }

    /// <summary>Are there language models of this family (<see cref="CreateCausalLM"/>)?</summary>
    public virtual bool HasCausalLM => true;

    /// <summary>Are there classifiers and reward models of this family (<see cref="CreateClassifier"/>)?</summary>
    public virtual bool HasClassifier => true;

    /// <summary>The sizes that a configuration describes.</summary>
    /// <exception cref="InvalidDataException">The configuration is malformed, or asks for something that is not supported.</exception>
    public abstract ModelShape Shape(ModelConfig config);

    /// <summary>A language model with uninitialized weights.</summary>
    /// <exception cref="InvalidDataException">The configuration is malformed, or asks for something that is not supported.</exception>
    /// <exception cref="NotSupportedException">The family has none.</exception>
    public virtual CausalLM CreateCausalLM(ModelConfig config, ComputePlan plan) =>
        throw new NotSupportedException($"There is no language model of type '{ModelType}'.");

    /// <summary>
    /// A language model that will only be asked for hidden states, so that it needs no output layer of its own: what a head for
    /// classification stands on.
    /// </summary>
    protected virtual CausalLM CreateTrunk(ModelConfig config, ComputePlan plan) => CreateCausalLM(config, plan);

    /// <summary>
    /// A classifier with uninitialized weights: of a language model, a linear layer on each row's last token that is not padding.
    /// </summary>
    /// <exception cref="InvalidDataException">The configuration is malformed, or asks for something that is not supported.</exception>
    /// <exception cref="NotSupportedException">The family has none.</exception>
    public virtual SequenceClassifier CreateClassifier(ModelConfig config, ComputePlan plan) => HasCausalLM
        ? new DecoderForSequenceClassification(CreateTrunk(config, plan), config)
        : throw new NotSupportedException($"There is no classifier of type '{ModelType}'.");

    /// <summary>
    /// The layers that an adapter changes where nothing else is said, by the ends of their names: PEFT's choice for the family, which is
    /// queries and values of attention, or the layer that makes them. Empty: there is no usual choice.
    /// </summary>
    public virtual IReadOnlyList<string> LoraTargetModules(ModelConfig config) => [];

    /// <summary>How language models of the family are written as GGUF, which llama.cpp and programs built on it open.</summary>
    /// <exception cref="NotSupportedException">llama.cpp has no such family.</exception>
    /// <exception cref="InvalidDataException">The configuration is malformed, or asks for something that llama.cpp's family does not do.</exception>
    public virtual GgufMap Gguf(ModelConfig config) =>
        throw new NotSupportedException($"llama.cpp has no language models of type '{ModelType}', so that they cannot be written as GGUF.");

    /// <summary>The configuration of a new model; what <paramref name="sizes"/> leaves out is as usual for the family.</summary>
    /// <exception cref="NotSupportedException">The family makes no new models.</exception>
    public virtual ModelConfig NewConfig(NewModelSizes sizes) =>
        throw new NotSupportedException($"New models of type '{ModelType}' are not made here.");
}
