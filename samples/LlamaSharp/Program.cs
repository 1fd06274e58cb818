// A model that rlhf export wrote as GGUF, in a program that knows nothing of Rlhf: LLamaSharp, which is llama.cpp, alone.
//
//   rlhf export --model models/imdb-gpt2-tiny --format gguf --output imdb.gguf
//   dotnet run -c Release --project samples/LlamaSharp -- imdb.gguf "This movie was"
//
// docs/ship-it.md shows what comes of it.
using System.Text;
using LLama;
using LLama.Common;
using LLama.Native;
using LLama.Sampling;

NativeLibraryConfig.All.WithLogCallback((_, _) => { }); // llama.cpp says much on standard error
var parameters = new ModelParams(args[0]) { ContextSize = 128 };
using var weights = LLamaWeights.LoadFromFile(parameters);

// A chat model's template is in the file; a model without one continues the text itself.
string prompt = args[1];
if (weights.Metadata.ContainsKey("tokenizer.chat_template"))
{
    var template = new LLamaTemplate(weights) { AddAssistant = true };
    template.Add("user", prompt);
    prompt = Encoding.UTF8.GetString(template.Apply());
}

var executor = new StatelessExecutor(weights, parameters);
var settings = new InferenceParams { MaxTokens = 24, SamplingPipeline = new GreedySamplingPipeline() };
await foreach (string piece in executor.InferAsync(prompt, settings))
    Console.Write(piece);
Console.WriteLine();
