using Rlhf.Cli.Settings;

namespace Rlhf.Cli.Verbs;

/// <summary>Known sets of settings for <c>rlhf ppo</c>.</summary>
internal enum PpoPreset
{
    /// <summary>TRL's lesson: GPT-2 learns to write positive film reviews.</summary>
    Imdb,
}

/// <summary>What a preset sets.</summary>
internal static class PpoPresets
{
    // Each value as the lesson has it, also where it is the default, so that a default that changes does not change the lesson.
    // The lesson evaluates on its last training batch; here the queries come from the test split, so all of train is trained on.
    private const string Imdb = """
        model: lvwerra/gpt2-imdb
        reward_model: lvwerra/distilbert-imdb
        reward_label: POSITIVE
        dataset: stanfordnlp/imdb
        split: train
        eval_split: test
        text_column: text
        longer_than: 200
        line_breaks: keep
        query_min: 2
        query_max: 8
        response_min: 4
        response_max: 16
        learning_rate: 1.41e-5
        learning_rate_schedule: constant
        batch_size: 128
        mini_batch_size: 128
        gradient_accumulation_steps: 1
        ppo_epochs: 4
        adaptive_kl_control: true
        init_kl_coef: 0.2
        kl_penalty: kl
        target: 6
        horizon: 10000
        gamma: 1
        lam: 0.95
        clip_range: 0.2
        clip_range_value: 0.2
        vf_coef: 0.1
        do_sample: true
        temperature: 1
        top_k: 0
        top_p: 1
        min_length: -1
        """;

    /// <summary>The settings of a preset.</summary>
    public static SettingsLayer Settings(PpoPreset preset) => preset switch
    {
        PpoPreset.Imdb => new("preset imdb", YamlSettingsFile.Parse(Imdb, "preset imdb")),
        _ => throw new ArgumentOutOfRangeException(nameof(preset), preset, "There is no such preset."),
    };
}
