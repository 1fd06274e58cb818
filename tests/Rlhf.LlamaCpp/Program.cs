using System.Text.Json;
using LLama;
using LLama.Common;
using LLama.Native;

namespace Rlhf.LlamaCpp;

/// <summary>
/// Opens GGUF files with llama.cpp, by LLamaSharp, for the tests: a process of its own, because libtorch brings another OpenMP, and llama.cpp
/// ends the process where a file makes it fail. Questions come on standard input, answers go to standard output, both as JSON.
/// </summary>
public static class Program
{
    public static int Main()
    {
        var questions = JsonSerializer.Deserialize<LlamaQuestions>(Console.In.ReadToEnd())!;
        NativeLibraryConfig.All.WithLogCallback((level, message) =>
        {
            if (level is LLamaLogLevel.Error or LLamaLogLevel.Warning)
                Console.Error.Write(message);
        });
        try
        {
            NativeApi.llama_empty_call();
        }
        catch (Exception e) when (e is TypeInitializationException or DllNotFoundException or LLama.Exceptions.RuntimeError)
        {
            return Say(new LlamaAnswers { Unavailable = (e.InnerException ?? e).Message });
        }
        var parameters = new ModelParams(questions.Model)
        {
            ContextSize = questions.ContextSize,
            GpuLayerCount = 0,
            BatchSize = 2048,
            UBatchSize = 2048,
            Threads = 2,
            BatchThreads = 2,
            // The cache in 16 bits and the blocked attention would round more than the file does.
            TypeK = GGMLType.GGML_TYPE_F32,
            TypeV = GGMLType.GGML_TYPE_F32,
            FlashAttention = false,
            SwaFull = true,
        };
        using var weights = LLamaWeights.LoadFromFile(parameters);
        var model = weights.NativeHandle;
        var adapter = questions.Adapter is { } file ? model.LoadLoraFromFile(file) : null;
        return Say(new LlamaAnswers
        {
            Metadata = weights.Metadata,
            Template = model.GetTemplate(null, strict: false),
            ContextSize = model.ContextSize,
            SpecialTokens = [(int?)model.Vocab.BOS, (int?)model.Vocab.EOS, (int?)model.Vocab.Pad, (int?)model.Vocab.EOT],
            Tokens = [.. questions.Texts.Select(t => model.Tokenize(t, questions.AddSpecial, special: true, System.Text.Encoding.UTF8).Select(id => (int)id).ToArray())],
            Logits = [.. questions.Rows.Select(row => Evaluate(weights, parameters, adapter, row))],
            Continuations = [.. questions.Prompts.Select(row => Continue(weights, parameters, adapter, row, questions.NewTokens))],
        });
    }

    private static float[][] Evaluate(LLamaWeights weights, ModelParams parameters, LoraAdapter? adapter, int[] row)
    {
        using var context = Open(weights, parameters, adapter);
        return Decode(context, row, 0);
    }

    private static int[] Continue(LLamaWeights weights, ModelParams parameters, LoraAdapter? adapter, int[] prompt, int count)
    {
        using var context = Open(weights, parameters, adapter);
        List<int> made = [];
        var logits = Decode(context, prompt, 0)[^1];
        for (int i = 0; i < count; i++)
        {
            made.Add(Array.IndexOf(logits, logits.Max()));
            if (i + 1 < count)
                logits = Decode(context, [made[^1]], prompt.Length + i)[^1];
        }
        return [.. made];
    }

    private static LLamaContext Open(LLamaWeights weights, ModelParams parameters, LoraAdapter? adapter)
    {
        var context = weights.CreateContext(parameters);
        if (adapter is not null)
            context.NativeHandle.SetLoraAdapters([(adapter, 1f)]);
        return context;
    }

    private static float[][] Decode(LLamaContext context, int[] ids, int position)
    {
        var batch = new LLamaBatch();
        for (int i = 0; i < ids.Length; i++)
            batch.Add(ids[i], position + i, LLamaSeqId.Zero, logits: true);
        var result = context.NativeHandle.Decode(batch);
        return result != DecodeResult.Ok ? throw new InvalidOperationException($"llama.cpp decodes nothing: {result}.")
            : [.. ids.Select((_, i) => context.NativeHandle.GetLogitsIth(i).ToArray())];
    }

    private static int Say(LlamaAnswers answers)
    {
        Console.Out.Write(JsonSerializer.Serialize(answers));
        return 0;
    }
}
