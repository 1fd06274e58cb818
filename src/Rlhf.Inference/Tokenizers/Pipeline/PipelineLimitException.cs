namespace Rlhf.Tokenizers.Pipeline;

/// <summary>A part of a tokenizer.json does more than it may; <see cref="PipelineTokenizer"/> adds which file it was.</summary>
internal sealed class PipelineLimitException(string message, Exception? inner = null) : Exception(message, inner);
