//! A pizza as a form asks for it.

use super::error::PageError;
use super::fields::Fields;
use super::name::Name;
use crate::menu::{CHEESES, EXTRA_TOPPINGS, MAIN_TOPPINGS, SAUCES};
use crate::order::Order;

/// One question of the form.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// The field's name.
    pub(super) name: &'static str,
    /// What is asked.
    pub(super) title: &'static str,
    /// What can be chosen.
    pub(super) choices: Vec<Choice>,
    /// Whether any number may be chosen, instead of one.
    pub(super) is_many: bool,
    /// What is wrong with the answer.
    pub(super) problem: Option<String>,
}

/// One thing that can be chosen.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) label: &'static str,
    pub(super) is_chosen: bool,
}

impl Choice {
    /// Its name in style sheets: `Black olives` is `black-olives`.
    pub(super) fn slug(&self) -> String {
        slug(self.label)
    }
}

/// The name of a part of a pizza in style sheets.
pub(super) fn slug(label: &str) -> String {
    label.to_lowercase().replace(' ', "-")
}

impl Question {
    fn new(
        (name, title): (&'static str, &'static str),
        labels: &[&'static str],
        is_many: bool,
    ) -> Self {
        let choice = |label: &&'static str| Choice { label, is_chosen: false };
        let choices = labels.iter().map(choice).collect();
        Self { name, title, choices, is_many, problem: None }
    }

    /// Every question, nothing answered but the first of each that needs one.
    pub(super) fn all() -> [Self; 4] {
        let mut questions = [
            Self::new(("sauce", "Sauce"), &SAUCES, false),
            Self::new(("cheese", "Cheese"), &CHEESES, false),
            Self::new(("main_topping", "Main topping"), &MAIN_TOPPINGS, false),
            Self::new(("extra_toppings", "Extra toppings"), &EXTRA_TOPPINGS, true),
        ];
        for question in questions.iter_mut().filter(|question| !question.is_many) {
            question.choices.iter_mut().take(1).for_each(|choice| choice.is_chosen = true);
        }
        questions
    }

    /// Every question with the answers of a form; `problem` says what is wrong with them.
    ///
    /// # Errors
    /// If the form has a field that is none of the questions.
    pub(super) fn answered(fields: &mut Fields) -> Result<[Self; 4], PageError> {
        let mut questions = Self::all();
        for question in &mut questions {
            let answers = fields.take(question.name);
            question.answer(&answers);
        }
        match fields.rest() {
            Some(name) => Err(PageError::Field(name.to_owned())),
            None => Ok(questions),
        }
    }

    fn answer(&mut self, answers: &[String]) {
        for choice in &mut self.choices {
            choice.is_chosen = answers.iter().any(|answer| answer == choice.label);
        }
        let title = self.title.to_lowercase();
        let is_known = |answer: &&String| self.choices.iter().all(|it| it.label != answer.as_str());
        let is_wrong = !self.is_many && answers.len() != 1;
        self.problem = if let Some(unknown) = answers.iter().find(is_known) {
            let unknown: String = unknown.chars().take(40).collect();
            Some(format!("We have no {title} '{unknown}'."))
        } else if is_wrong {
            Some(format!("Please choose one {title}; found {}.", answers.len()))
        } else if answers.len() > self.chosen().len() {
            Some("Please choose each extra topping once.".to_owned())
        } else {
            None
        };
    }

    fn chosen(&self) -> Vec<String> {
        let chosen = self.choices.iter().filter(|choice| choice.is_chosen);
        chosen.map(|choice| choice.label.to_owned()).collect()
    }
}

/// The order that the answers make, extra toppings in the order of the menu; `None` if one of them
/// is wrong.
pub(super) fn order(customer: &Name, questions: &[Question; 4]) -> Option<Order> {
    if questions.iter().any(|question| question.problem.is_some()) {
        return None;
    }
    let [sauce, cheese, main_topping, extra_toppings] = questions.each_ref().map(Question::chosen);
    let one = |answers: Vec<String>| answers.into_iter().next();
    Some(Order {
        extra_toppings,
        customer_id: customer.customer_id(),
        name: customer.as_str().to_owned(),
        sauce: one(sauce)?,
        cheese: one(cheese)?,
        main_topping: one(main_topping)?,
    })
}
